//! The person at this process's terminal.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use async_trait::async_trait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::{Mutex, MutexGuard};

use super::clock::Open;
use super::{Ask, Typed};
use crate::escape::is_raw;
use crate::failure::{Code, Failure, Result};
use crate::secret::Secret;
use crate::terminal::{Modes, discard_input};

/// The person at this process's terminal, where stdin and stderr are one.
pub struct Terminal;

/// Hosts are connected side by side, but two prompts at once would share one keyboard.
static KEYBOARD: Mutex<()> = Mutex::const_new(());

/// What was said once.
static SAID: std::sync::Mutex<BTreeSet<String>> = std::sync::Mutex::new(BTreeSet::new());

/// How often the terminal is asked for a line.
const PACE: Duration = Duration::from_millis(20);

/// Most bytes of an answer: a terminal gives no longer line.
const LONGEST: usize = 4096;

/// The keyboard is ours until this is dropped. The terminal's modes go first.
pub(super) struct Turn {
    _modes: Option<Modes>,
    _keyboard: MutexGuard<'static, ()>,
    _open: Open,
}

#[async_trait]
impl Ask for Terminal {
    async fn confirm(&self, question: &str) -> Result<Option<bool>> {
        let question = format!("{question} [y/n] ");
        let answer = ask(
            &question,
            "Please type y or n: ",
            Kind::Consent,
            |line| match line.to_lowercase().as_str() {
                "y" | "yes" => Some(true),
                "n" | "no" => Some(false),
                _ => None,
            },
        );
        Ok(answer.await?.map(|(yes, _)| yes))
    }

    async fn line(&self, question: &str, default: &str) -> Result<Option<String>> {
        let question = if default.is_empty() {
            format!("{question}: ")
        } else {
            format!("{question} [{default}]: ")
        };
        let answer = ask(&question, "", Kind::Line, |line| {
            Some(if line.is_empty() { default } else { line }.to_owned())
        });
        Ok(answer.await?.map(|(line, _)| line))
    }

    async fn secret(&self, question: &str) -> Result<Option<Typed>> {
        let question = format!("{question}: ");
        let answer = ask(&question, "", Kind::Secret, |line| Some(Secret::new(line))).await?;
        Ok(answer.map(|(secret, turn)| Typed {
            secret,
            _turn: Some(turn),
        }))
    }

    fn say(&self, text: &str) {
        write(&format!("{text}\n"));
    }

    fn say_once(&self, text: &str) {
        let mut said = SAID
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.insert(text.to_owned()) {
            self.say(text);
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Any text.
    Line,
    /// A yes or a no: what was typed before the question was seen is none.
    Consent,
    /// What is not shown, and keeps its blanks.
    Secret,
}

/// Asks every question there is. `read` makes an answer of a line; where it does not, `again` is asked.
async fn ask<T>(
    question: &str,
    again: &str,
    kind: Kind,
    read: impl Fn(&str) -> Option<T> + Send,
) -> Result<Option<(T, Turn)>> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    let open = Open::now();
    let keyboard = KEYBOARD.lock().await;
    let turn = Turn {
        _modes: match kind {
            Kind::Secret => Modes::hidden(),
            Kind::Line | Kind::Consent => Modes::line(),
        },
        _keyboard: keyboard,
        _open: open,
    };
    if kind == Kind::Consent {
        discard_input();
    }
    let hidden = kind == Kind::Secret;
    let mut prompt = question;
    loop {
        let shown = Prompt::show(prompt);
        let Some(line) = line().await else {
            drop(shown);
            return Err(closed(question));
        };
        shown.answered(hidden);
        let line = line.trim_end_matches(['\r', '\n']);
        match read(if hidden { line } else { line.trim() }) {
            Some(answer) => return Ok(Some((answer, turn))),
            None => prompt = again,
        }
    }
}

/// The failure of a question that was answered with Ctrl-D.
fn closed(question: &str) -> Failure {
    let first = question.lines().next().unwrap_or_default();
    Failure::new(Code::Declined, "a question was not answered")
        .because(format!(
            "end of input (Ctrl-D) at: {}",
            first.trim_end_matches([' ', ':'])
        ))
        .hint("run the same command again, and answer it")
}

/// A question on the screen; where it ends without an answer, what is printed next begins on a line of its own.
struct Prompt;

impl Prompt {
    fn show(question: &str) -> Self {
        write(question);
        Self
    }

    /// The Enter of a hidden answer was not shown.
    fn answered(self, hidden: bool) {
        if hidden {
            drop(self);
        } else {
            std::mem::forget(self);
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        write("\n");
    }
}

/// One line; `None` where the input ends. Nothing is read any more once this is dropped: a thread that waits for a line would
/// take the next one from whoever asks for it then.
async fn line() -> Option<String> {
    let stdin = std::io::stdin();
    let mut line = Vec::new();
    loop {
        let now = Timespec::default();
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&now)) {
            Ok(0) | Err(Errno::INTR) => {
                tokio::time::sleep(PACE).await;
                continue;
            }
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut buffer = [0_u8; LONGEST];
        match rustix::io::read(&stdin, &mut buffer) {
            // What came before Ctrl-D was not sent with Enter.
            Ok(0) => return None,
            Ok(count) => line.extend_from_slice(&buffer[..count]),
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => return None,
        }
        if line.ends_with(b"\n") || line.len() >= LONGEST {
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

/// On stderr. Names come from configuration files and machines: no control character and no mark of direction may reach the terminal.
fn write(text: &str) {
    let printable: String = text
        .chars()
        .map(|c| match c {
            '\n' => c,
            c if is_raw(c) => '\u{fffd}',
            c => c,
        })
        .collect();
    let _ = std::io::stderr().write_all(printable.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_question_is_declined_and_named_without_its_rest() {
        let failure = closed("n100 (n100) shows a host key that is not known yet:\n  kind print\n");
        assert_eq!(failure.code.exit_code(), 1);
        assert_eq!(
            failure.cause.unwrap(),
            "end of input (Ctrl-D) at: n100 (n100) shows a host key that is not known yet"
        );
    }
}
