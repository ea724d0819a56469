//! The only place where shell text is built, and the only function that quotes.

use std::fmt::Write as _;
use std::time::Duration;

/// Quotes one word for a POSIX shell; NUL cannot be passed and is dropped.
pub fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('\'');
    for c in word.chars().filter(|c| *c != '\0') {
        if c == '\'' {
            quoted.push_str("'\\''");
        } else {
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

/// A script to run as root, with what it reads from stdin and the time it may take.
///
/// Built from fixed text with `{}` places that are filled with quoted words only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    text: String,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Script {
    /// `text` is ours; each `{}` in it is replaced by the next of `words`, quoted. Spare places stay empty words.
    pub fn new(text: &'static str, words: &[&str]) -> Self {
        let mut parts = text.split("{}");
        let mut script = parts.next().unwrap_or_default().to_owned();
        let mut words = words.iter();
        for part in parts {
            let _ = write!(
                script,
                "{}{part}",
                quote(words.next().copied().unwrap_or_default())
            );
        }
        Self::of(script)
    }

    /// Shell text that is whole already.
    pub(super) fn of(text: String) -> Self {
        Self {
            text,
            stdin: Vec::new(),
            limit: Duration::from_secs(30),
        }
    }

    /// A command given as words: the first is the program.
    pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(words.into_iter().map(quote).collect::<Vec<_>>().join(" "))
    }

    /// What the script reads from stdin; the place for secrets.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take (default 30 s).
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The shell text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it reads from stdin.
    pub fn input(&self) -> &[u8] {
        &self.stdin
    }

    /// How long it may take.
    pub fn time_limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_filled_with_quoted_words() {
        let script = Script::new("cat {} > {}", &["a b", "it's"]);
        assert_eq!(script.text(), r"cat 'a b' > 'it'\''s'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A real shell gives back what was quoted, whatever it is.
        #[test]
        fn a_shell_reads_back_what_was_quoted(word in "[^\0]{0,40}") {
            let out = std::process::Command::new("sh")
                .arg("-c").arg(format!("printf %s {}", quote(&word))).output().unwrap();
            prop_assert_eq!(String::from_utf8_lossy(&out.stdout), word);
        }
    }
}
