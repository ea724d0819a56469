//! Questions that only a person at a terminal can answer, one at a time.

use std::io::IsTerminal as _;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::secret::Secret;

/// Whoever may answer; `None` means that nobody is there.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Yes or no.
    async fn confirm(&self, question: &str) -> Option<bool>;
    /// A line of text; an empty answer means the default.
    async fn line(&self, _question: &str, _default: &str) -> Option<String> {
        None
    }
    /// A password or passphrase, not shown while it is typed.
    async fn secret(&self, question: &str) -> Option<Secret>;
}

/// The person at this process's terminal, where stdin and stderr are one.
pub struct Terminal;

/// Hosts are connected side by side, but two prompts at once would share one keyboard.
static KEYBOARD: Mutex<()> = Mutex::const_new(());

#[async_trait]
impl Ask for Terminal {
    async fn confirm(&self, question: &str) -> Option<bool> {
        let question = printable(question);
        at_terminal(move || {
            dialoguer::Confirm::new()
                .with_prompt(question)
                .default(false)
                .interact()
                .ok()
        })
        .await
    }

    async fn line(&self, question: &str, default: &str) -> Option<String> {
        let (question, default) = (printable(question), default.to_owned());
        at_terminal(move || {
            let mut input = dialoguer::Input::<String>::new()
                .with_prompt(question)
                .allow_empty(true);
            if !default.is_empty() {
                input = input.default(default);
            }
            input.interact_text().ok()
        })
        .await
    }

    async fn secret(&self, question: &str) -> Option<Secret> {
        let question = printable(question);
        at_terminal(move || {
            dialoguer::Password::new()
                .with_prompt(question)
                .allow_empty_password(true)
                .interact()
                .ok()
                .map(Secret::new)
        })
        .await
    }
}

async fn at_terminal<T: Send + 'static>(
    ask: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return None;
    }
    let _turn = KEYBOARD.lock().await;
    tokio::task::spawn_blocking(ask).await.ok().flatten()
}

/// Names come from configuration files and machines: no control character may reach the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Nobody is there: scripts and tests.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
#[async_trait]
impl Ask for Nobody {
    async fn confirm(&self, _: &str) -> Option<bool> {
        None
    }
    async fn secret(&self, _: &str) -> Option<Secret> {
        None
    }
}
