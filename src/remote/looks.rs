//! Steps that ask one machine the same question at the same moment share its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Look, Output};
use crate::shared::Shared;

/// How old an answer may be: shorter than any step's pace, so that waiting never sees the past twice.
const FRESH: Duration = Duration::from_millis(200);

/// The answers of one machine. Whatever changes the machine forgets them all.
#[derive(Default)]
pub(super) struct Looks(Mutex<HashMap<Look, Asked>>);

/// When it was asked, and where the answer comes.
type Asked = (Instant, Arc<Shared<Output>>);

impl Looks {
    /// The place of the answer to `look`: already there, on its way, or empty for the caller to fill.
    pub(super) fn answer(&self, look: &Look) -> Arc<Shared<Output>> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (asked, _)| asked.elapsed() < FRESH);
        let (_, answer) = answers
            .entry(look.clone())
            .or_insert_with(|| (Instant::now(), Arc::default()));
        Arc::clone(answer)
    }

    /// The machine changes.
    pub(super) fn forget(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_serves_those_who_ask_at_once_and_none_after_a_change() {
        let looks = Looks::default();
        let first = looks.answer(&Look::Routes);
        assert!(Arc::ptr_eq(&first, &looks.answer(&Look::Routes)));
        assert!(!Arc::ptr_eq(&first, &looks.answer(&Look::Addresses)));
        looks.forget();
        assert!(!Arc::ptr_eq(&first, &looks.answer(&Look::Routes)));
    }
}
