//! The only place where shell text is built; its words are quoted by [`quote`].

use std::fmt::Write as _;
use std::time::Duration;

use crate::shell::quote;

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
