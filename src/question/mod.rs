//! Questions that only a person at a terminal can answer, one at a time. Each takes a whole line; Ctrl-C ends the program, and
//! Ctrl-D declines.

mod clock;
mod terminal;
#[cfg(test)]
pub(crate) mod testing;

use async_trait::async_trait;

pub use clock::{Elapsed, limited};
pub use terminal::Terminal;

use crate::failure::Result;
use crate::secret::Secret;

/// Who answers. `None` where no one can, for there is no terminal; a failure where the person declines to (Ctrl-D).
#[async_trait]
pub trait Ask: Send + Sync {
    /// Yes or no.
    async fn confirm(&self, question: &str) -> Result<Option<bool>>;
    /// A line of text without blanks around it; an empty one means the default.
    async fn line(&self, _question: &str, _default: &str) -> Result<Option<String>> {
        Ok(None)
    }
    /// A password or passphrase.
    async fn secret(&self, question: &str) -> Result<Option<Typed>>;
    /// Says something about the last answer.
    fn say(&self, _text: &str) {}
    /// The same, once a run.
    fn say_once(&self, text: &str) {
        self.say(text);
    }
}

/// A secret that was typed. Until this is dropped nothing that is typed is shown, no limit runs and no other question is asked:
/// it is to be kept until it is known whether the secret is right.
pub struct Typed {
    /// The secret.
    pub secret: Secret,
    _turn: Option<terminal::Turn>,
}

impl Typed {
    /// One that no one typed.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            _turn: None,
        }
    }
}
