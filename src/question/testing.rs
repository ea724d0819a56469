//! People for tests.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;

use super::{Ask, Typed};
use crate::failure::Result;
use crate::secret::Secret;

/// No one is there: scripts and tests.
pub(crate) struct Nobody;

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
pub(crate) struct Scripted {
    answers: Mutex<VecDeque<&'static str>>,
    seen: Mutex<Vec<String>>,
}

impl Scripted {
    pub(crate) fn new<const N: usize>(answers: [&'static str; N]) -> Self {
        Self {
            answers: Mutex::new(answers.into()),
            seen: Mutex::default(),
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
