//! What the engine does, as events.

use std::time::Duration;

use super::ended::{Ended, Span, critical_path};
use super::step::{Meta, Step};
use crate::event::{Event, Outcome};

/// A step begins.
pub(super) fn started<W: Sync>(step: &dyn Step<W>, at: Duration) -> Event {
    let Meta { id, title, .. } = step.meta();
    Event::StepStarted {
        step: id.to_string(),
        title,
        at_seconds: at.as_secs_f64(),
    }
}

/// A step is not true yet.
pub(super) fn waiting<W: Sync>(
    step: &dyn Step<W>,
    reason: &str,
    elapsed: Duration,
    timeout: Duration,
) -> Event {
    Event::StepWaiting {
        step: step.id().to_string(),
        reason: reason.to_owned(),
        elapsed_seconds: elapsed.as_secs_f64(),
        patience_seconds: timeout.as_secs_f64(),
    }
}

/// A step ended.
pub(super) fn ended<W: Sync>(
    step: &dyn Step<W>,
    outcome: Outcome,
    note: &str,
    span: &Span,
) -> Event {
    let Meta { id, title, .. } = step.meta();
    Event::StepEnded {
        step: id.to_string(),
        title,
        outcome,
        note: note.to_owned(),
        seconds: span.took.as_secs_f64(),
        at_seconds: span.began.as_secs_f64(),
        applied_seconds: span.applied.as_secs_f64(),
        waited_seconds: span.waited.as_secs_f64(),
        after: span.after.as_ref().map(ToString::to_string),
    }
}

/// The run is over.
pub fn run_ended(ended: &[Ended], took: Duration) -> Event {
    let [mut changed, mut kept, mut would, mut failed, mut skipped] = [0; 5];
    for step in ended {
        *match step.outcome {
            Outcome::Changed => &mut changed,
            Outcome::Kept => &mut kept,
            Outcome::Would => &mut would,
            Outcome::Failed => &mut failed,
            Outcome::Skipped => &mut skipped,
        } += 1;
    }
    Event::RunEnded {
        changed,
        kept,
        would,
        failed,
        skipped,
        seconds: took.as_secs_f64(),
        critical_path: critical_path(ended)
            .into_iter()
            .map(|step| step.id.to_string())
            .collect(),
    }
}
