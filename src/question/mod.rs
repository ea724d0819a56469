//! Questions that only a person at a terminal can answer, one at a time. Each takes a whole line; Ctrl-C ends the program, and
//! Ctrl-D declines.

mod clock;
mod terminal;

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

/// No one is there: scripts and tests.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
#[async_trait]
impl Ask for Nobody {
    async fn confirm(&self, _: &str) -> Result<Option<bool>> {
        Ok(None)
    }
    async fn secret(&self, _: &str) -> Result<Option<Typed>> {
        Ok(None)
    }
}

/// A person who gives these answers, one after the other, and remembers what was asked and said.
#[cfg(test)]
pub(crate) struct Scripted {
    answers: std::sync::Mutex<std::collections::VecDeque<&'static str>>,
    seen: std::sync::Mutex<Vec<String>>,
}

#[cfg(test)]
impl Scripted {
    pub(crate) fn new<const N: usize>(answers: [&'static str; N]) -> Self {
        Self {
            answers: std::sync::Mutex::new(answers.into()),
            seen: std::sync::Mutex::default(),
        }
    }

    /// What was asked and said, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn next(&self, question: &str) -> Option<&'static str> {
        self.say(question);
        self.answers.lock().unwrap().pop_front()
    }
}

#[cfg(test)]
#[async_trait]
impl Ask for Scripted {
    async fn confirm(&self, question: &str) -> Result<Option<bool>> {
        Ok(self.next(question).map(|answer| answer == "y"))
    }
    async fn line(&self, question: &str, _: &str) -> Result<Option<String>> {
        Ok(self.next(question).map(str::to_owned))
    }
    async fn secret(&self, question: &str) -> Result<Option<Typed>> {
        Ok(self
            .next(question)
            .map(|answer| Typed::new(Secret::new(answer))))
    }
    fn say(&self, text: &str) {
        self.seen.lock().unwrap().push(text.to_owned());
    }
}
