//! How steps ended, when, and which of them made the run as long as it was.

use std::time::Duration;

use crate::event::Outcome;
use crate::failure::Failure;
use crate::step_id::StepId;

/// When a step was at work, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From the start of the run to the step's own.
    pub began: Duration,
    /// All of it: looking, applying, waiting.
    pub took: Duration,
    /// Of that, applying.
    pub applied: Duration,
    /// Of that, waiting for what was applied to become true.
    pub waited: Duration,
    /// The step whose end it waited for last before it began.
    pub after: Option<StepId>,
}

impl Span {
    /// From the start of the run to the step's end.
    pub fn end(&self) -> Duration {
        self.began + self.took
    }
}

/// How one step ended, with the reason where there is one.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which step.
    pub id: StepId,
    /// How it ended.
    pub outcome: Outcome,
    /// The failure, where it failed.
    pub failure: Option<Failure>,
    /// When.
    pub span: Span,
}

/// The chain of steps that made the run as long as it was: from the one that ended last back along what each waited
/// for last; in the order they ran.
pub fn critical_path(ended: &[Ended]) -> Vec<&Ended> {
    let ran = || ended.iter().filter(|step| step.outcome != Outcome::Skipped);
    let mut path = Vec::new();
    let mut next = ran().max_by_key(|step| step.span.end());
    while let Some(step) = next {
        path.push(step);
        next = ran().find(|before| Some(&before.id) == step.span.after.as_ref());
    }
    path.reverse();
    path
}
