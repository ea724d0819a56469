//! Percent-encoding of what goes into a URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the characters that RFC 3986 reserves for nothing (section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One path segment, or one value of a query.
pub fn encode(part: &str) -> String {
    utf8_percent_encode(part, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plain_stays() {
        assert_eq!(encode("k3s-cp_1.a~b"), "k3s-cp_1.a~b");
        assert_eq!(encode("../a b?c=%&é"), "..%2Fa%20b%3Fc%3D%25%26%C3%A9");
    }
}
