//! Characters beyond ASCII, where the person's locale has no UTF-8.

use std::borrow::Cow;
use std::sync::OnceLock;

/// What this program itself writes beyond ASCII, and what stands for it.
const PLAIN: [(char, &str); 5] = [
    ('–', "-"),
    ('—', "-"),
    ('→', "->"),
    ('…', "..."),
    ('×', "x"),
];

/// The text as the person's terminal can show it.
pub fn plain(text: &str) -> Cow<'_, str> {
    if is_utf8() || text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(in_ascii(text))
}

fn in_ascii(text: &str) -> String {
    let plain = text.chars().map(|c| {
        let known = PLAIN.iter().find(|(known, _)| *known == c);
        known.map_or_else(
            || Cow::Owned(c.to_string()),
            |(_, plain)| Cow::Borrowed(*plain),
        )
    });
    plain.collect()
}

/// Whether the locale is one of UTF-8. Where no variable says anything (containers, cron), today's terminals are.
pub(super) fn is_utf8() -> bool {
    static UTF8: OnceLock<bool> = OnceLock::new();
    *UTF8.get_or_init(|| {
        let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
        said_by(
            variables
                .iter()
                .map(|name| std::env::var(name).unwrap_or_default()),
        )
    })
}

/// The first that is set counts.
///
/// Source: POSIX.1-2024, 8.2 (Internationalization Variables).
fn said_by(values: impl Iterator<Item = String>) -> bool {
    let mut values = values.filter(|value| !value.is_empty());
    values.next().is_none_or(|value| {
        let value = value.to_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_without_utf8_is_given_ascii() {
        let utf8 = |values: [&str; 3]| said_by(values.into_iter().map(str::to_owned));
        assert!(utf8(["", "", ""]) && utf8(["", "", "de_DE.UTF-8"]) && utf8(["C.utf8", "", "C"]));
        assert!(!utf8(["", "", "C"]) && !utf8(["POSIX", "", "de_DE.UTF-8"]));
        let text = in_ascii("? of 0–15 → 3 × 4 …");
        assert_eq!(text, "? of 0-15 -> 3 x 4 ...");
    }
}
