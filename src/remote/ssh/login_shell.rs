//! Commands through login shells of any kind: sshd gives the command line to the user's own, which may be fish, tcsh or another
//! one that does not read what a POSIX shell does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A command line for `/bin/sh`, as every login shell hands it on: one line of plain words and one pair of single quotes, in
/// which nothing stands that any shell takes apart (no `\`, no `!`, no single quote, no end of line).
///
/// Source: sshd(8), "Login process" (the command runs in the user's shell, with `-c`); fish's quotes take `\\` and `\'`
/// apart, csh's `!` and ends of lines.
pub(super) fn wrapped(command: &str) -> String {
    let text = STANDARD.encode(command);
    format!("exec /bin/sh -c 'eval \"$(echo {text} | base64 -d)\"'")
}

/// What was wrapped.
#[cfg(test)]
pub(super) fn unwrapped(line: &str) -> String {
    let text = line.split("$(echo ").nth(1).unwrap_or_default();
    let text = text.split(' ').next().unwrap_or_default();
    String::from_utf8(STANDARD.decode(text).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    const COMMAND: &str = "read line; printf '%s\\n' \"$line\" 'it'\\''s ! \\'; [ \"$line\" = in ] && echo last >&2\nexit 7";

    #[test]
    fn no_shell_takes_the_line_apart() {
        let line = wrapped(COMMAND);
        assert!(!line.contains(['\\', '!', '\n', '~', '*', '?']), "{line}");
        assert_eq!(line.matches('\'').count(), 2, "{line}");
        assert_eq!(unwrapped(&line), COMMAND);
    }

    /// Every shell of this machine: input, both outputs and status are those of the command.
    #[test]
    fn every_login_shell_runs_it() {
        for shell in ["sh", "bash", "dash", "zsh", "fish", "tcsh", "csh", "ksh"] {
            let child = Command::new(shell)
                .args(["-c", &wrapped(COMMAND)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            // Most machines have a few of them; the lab's have more.
            let Ok(mut child) = child else {
                continue;
            };
            child.stdin.take().unwrap().write_all(b"in\nmore").unwrap();
            let done = child.wait_with_output().unwrap();
            let told = (done.status.code(), &*done.stdout, &*done.stderr);
            assert_eq!(
                told,
                (Some(7), &b"in\nit's ! \\\n"[..], &b"last\n"[..]),
                "{shell}"
            );
        }
    }
}
