//! Text from machines is made harmless before it reaches a terminal.

use std::fmt::Write as _;

use crate::secret::redact;

/// Longest text shown of one message, in characters.
const LIMIT: usize = 2000;

/// Replaces control and direction-changing characters by their escapes (newlines become ` | `), and bounds the length.
pub fn escape(text: &str) -> String {
    let text = redact(text);
    let mut shown = String::with_capacity(text.len());
    for (count, c) in text.trim_end().chars().enumerate() {
        if count == LIMIT {
            shown.push('…');
            break;
        }
        match c {
            '\n' => shown.push_str(" | "),
            '\t' => shown.push(' '),
            c if is_raw(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// A JSON document on one line, made harmless: characters that could trick a terminal become JSON's own escapes.
pub fn harmless_json(line: &str) -> String {
    let line = redact(line);
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if is_raw(c) {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// What a terminal must not be given.
pub(crate) fn is_raw(c: char) -> bool {
    c.is_control() || is_direction(c)
}

/// Bidirectional controls and invisible separators, which can make a line read as another.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever a machine says, no control character reaches the terminal.
        #[test]
        fn nothing_raw_gets_through(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_raw));
        }

        /// The same for JSON, which stays the document it was.
        #[test]
        fn documents_are_harmless_and_mean_the_same(text in any::<String>()) {
            let line = harmless_json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!line.chars().any(is_raw));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }

    /// Each of Unicode's bidirectional controls, and what is seen nowhere.
    #[test]
    fn no_mark_of_direction_gets_through() {
        let marks = [
            '\u{61c}', '\u{180e}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}',
            '\u{2066}', '\u{2069}', '\u{feff}',
        ];
        for mark in marks {
            assert!(!escape(&format!("a{mark}b")).contains(mark), "{mark:?}");
        }
    }

    #[test]
    fn length_is_bounded() {
        assert_eq!(escape(&"x".repeat(10_000)).chars().count(), LIMIT + 1);
    }
}
