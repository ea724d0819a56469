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

/// All that belongs to it is one process group, whoever ends first.
const TIED: &str = "{ cat <&3; kill -TERM 0; } >/dev/null 2>&1 &
exec 3<&- </dev/null; /bin/sh -c {}; s=$?; trap '' TERM; kill -TERM 0; exit $s";

impl Script {
    /// `text` is ours; each `{}` in it is replaced by the next of `words`, quoted.
    ///
    /// # Panics
    /// In debug builds, and so in every test that makes the script: where there are not as many places as words. `rm -rf {}/x`
    /// without its word would be `rm -rf ''/x`.
    pub fn new(text: &'static str, words: &[&str]) -> Self {
        debug_assert_eq!(
            text.matches("{}").count(),
            words.len(),
            "places and words of {text:?}"
        );
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

    /// The same script, in a session of its own that ends as soon as stdin does: an SSH server ends nothing when its
    /// client is gone, and what follows a silent log would never notice.
    pub(super) fn tied(&self) -> Self {
        let session = Self::new(TIED, &[&self.text]);
        Self::new("exec 3<&0; exec setsid -w /bin/sh -c {}", &[&session.text])
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

    #[test]
    #[should_panic(expected = "places and words")]
    fn a_forgotten_word_is_noticed() {
        drop(Script::new("rm -rf -- {}/x {}", &["a"]));
    }

    #[test]
    #[should_panic(expected = "places and words")]
    fn a_spare_word_is_noticed() {
        drop(Script::new("rm -f -- {}", &["a", "b"]));
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

    /// Starts a tied script; it, its stdin, and what it printed when it had ended.
    fn tied(text: &'static str) -> std::process::Child {
        std::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(Script::new(text, &[]).tied().text())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `tail -F` of a silent console stayed on the host for good after Ctrl-C.
    #[test]
    fn what_is_tied_ends_with_its_stdin_and_with_its_own_status() {
        let begin = std::time::Instant::now();
        let mut child = tied("sleep 61 | cat; echo never");
        drop(child.stdin.take());
        let out = child.wait_with_output().unwrap();
        assert!(!out.status.success() && out.stdout.is_empty(), "{out:?}");
        let mut child = tied("echo here; exit 7");
        let stdin = child.stdin.take();
        let out = child.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!((out.status.code(), &*out.stdout), (Some(7), &b"here\n"[..]));
        assert!(begin.elapsed().as_secs() < 30);
    }
}
