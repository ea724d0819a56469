//! Commands through login shells of any kind: sshd gives the command line to the user's own, which may be fish, tcsh or another
//! one that does not read what a POSIX shell does.

/// A command for `/bin/sh`, as a command line that every login shell hands on unchanged. Each line of it is a word, for csh
/// ends no quotes over an end of line; `/bin/sh` joins them by `IFS`'s last default character, which is an end of line.
///
/// Source: sshd(8), "Login process" (the command runs in the user's shell, with `-c`); POSIX, 2.5.3 (`IFS` is never taken from the
/// environment) and 2.5.2 (`"$*"`).
pub(super) fn wrapped(command: &str) -> String {
    let mut line =
        String::from("exec /bin/sh -c 'IFS=${IFS#??}; eval \"$*\"' sh 'unset IFS; set --'");
    for text in command.split('\n') {
        line.push(' ');
        line.push_str(&word(text));
    }
    line
}

/// One word for all of them: single quotes around everything but what one of them takes apart even there. fish does so with
/// `\\` and `\'`, csh with `!`.
fn word(text: &str) -> String {
    let mut word = String::from("'");
    for character in text.chars() {
        match character {
            '\'' => word.push_str("'\"'\"'"),
            '\\' | '!' => word.extend(["'\\", character.encode_utf8(&mut [0; 4]), "'"]),
            _ => word.push(character),
        }
    }
    word.push('\'');
    word
}

/// What was wrapped.
#[cfg(test)]
pub(super) fn unwrapped(line: &str) -> String {
    let words = line
        .split_once(" 'unset IFS; set --' ")
        .map_or("", |(_, words)| words);
    let words = words
        .strip_prefix('\'')
        .and_then(|words| words.strip_suffix('\''));
    let words = words.unwrap_or_default().replace("'\"'\"'", "\0");
    let words = words.replace("'\\\\'", "\\").replace("'\\!'", "!");
    words.replace("' '", "\n").replace('\0', "'")
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
        assert!(!line.contains('\n'), "{line}");
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
