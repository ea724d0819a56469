//! Steps that ask one machine the same question at the same moment share its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Output, Probe};
use crate::shared::Shared;

/// How old an answer may be: shorter than any step's pace, so that waiting never sees the past twice.
const FRESH: Duration = Duration::from_millis(200);

/// The answers of one machine. Whatever changes the machine forgets them all.
#[derive(Default)]
pub(super) struct ProbeCache(Mutex<HashMap<Probe, Asked>>);

/// When it was asked, and where the answer comes.
type Asked = (Instant, Arc<Shared<Output>>);

impl ProbeCache {
    /// The place of the answer to `probe`: already there, on its way, or empty for the caller to fill.
    pub(super) fn answer(&self, probe: &Probe) -> Arc<Shared<Output>> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (asked, _)| asked.elapsed() < FRESH);
        let (_, answer) = answers
            .entry(probe.clone())
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
        let probes = ProbeCache::default();
        let first = probes.answer(&Probe::Routes);
        assert!(Arc::ptr_eq(&first, &probes.answer(&Probe::Routes)));
        assert!(!Arc::ptr_eq(&first, &probes.answer(&Probe::Addresses)));
        probes.forget();
        assert!(!Arc::ptr_eq(&first, &probes.answer(&Probe::Routes)));
    }
}
