//! The event stream: what a run tells, as a versioned contract (`--output ndjson`, docs/events.md).

use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::pipeline::Step;

/// The contract's version; grows only when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The fact held already.
    Kept,
    /// The fact was made true.
    Changed,
    /// The fact does not hold; look mode changed nothing.
    Would,
    /// The fact could not be made true.
    Failed,
    /// Not tried, because a step it needs failed.
    Skipped,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// Contract version.
        version: u32,
        /// The cluster's name.
        cluster: String,
        /// The command: `init`, `prove`, ….
        command: String,
        /// Steps to take.
        steps: usize,
    },
    /// A step is being looked at.
    StepStarted {
        /// `name/subject`.
        step: String,
        /// Imperative title.
        title: String,
    },
    /// A step was applied and is not true yet.
    StepWaiting {
        /// `name/subject`.
        step: String,
        /// The last reason.
        reason: String,
        /// Seconds since it was applied.
        elapsed_seconds: f64,
        /// Seconds it may take.
        patience_seconds: f64,
    },
    /// A step ended.
    StepEnded {
        /// `name/subject`.
        step: String,
        /// Imperative title.
        title: String,
        /// How.
        outcome: Outcome,
        /// Form, reason or cause.
        note: String,
        /// Seconds it took.
        seconds: f64,
    },
    /// What the step that just ended would change (look mode).
    StepDiff {
        /// `name/subject`.
        step: String,
        /// A unified diff, without secrets.
        diff: String,
    },
    /// The run is over.
    RunEnded {
        /// Steps that were made true.
        changed: usize,
        /// Steps that held already.
        kept: usize,
        /// Steps that would change (look mode).
        would: usize,
        /// Steps that failed.
        failed: usize,
        /// Steps not tried.
        skipped: usize,
        /// Seconds in all.
        seconds: f64,
    },
    /// A sentence for people that belongs to no step.
    Note {
        /// The sentence.
        text: String,
    },
}

impl Event {
    /// A step begins.
    pub fn started(step: &dyn Step) -> Self {
        Self::StepStarted {
            step: step.id().to_string(),
            title: step.title(),
        }
    }

    /// A step is not true yet.
    pub fn waiting(step: &dyn Step, reason: &str, elapsed: Duration, patience: Duration) -> Self {
        Self::StepWaiting {
            step: step.id().to_string(),
            reason: reason.to_owned(),
            elapsed_seconds: elapsed.as_secs_f64(),
            patience_seconds: patience.as_secs_f64(),
        }
    }

    /// A step ended.
    pub fn ended(step: &dyn Step, outcome: Outcome, note: &str, took: Duration) -> Self {
        Self::StepEnded {
            step: step.id().to_string(),
            title: step.title(),
            outcome,
            note: note.to_owned(),
            seconds: took.as_secs_f64(),
        }
    }
}

impl Event {
    /// The run is over.
    pub fn run_ended(outcomes: impl IntoIterator<Item = Outcome>, took: Duration) -> Self {
        let [mut changed, mut kept, mut would, mut failed, mut skipped] = [0; 5];
        for outcome in outcomes {
            *match outcome {
                Outcome::Changed => &mut changed,
                Outcome::Kept => &mut kept,
                Outcome::Would => &mut would,
                Outcome::Failed => &mut failed,
                Outcome::Skipped => &mut skipped,
            } += 1;
        }
        Self::RunEnded {
            changed,
            kept,
            would,
            failed,
            skipped,
            seconds: took.as_secs_f64(),
        }
    }
}

/// Where events go; a report listens at the other end.
#[derive(Clone)]
pub struct Events(mpsc::UnboundedSender<Event>);

impl Events {
    /// A stream and its listening end.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells; a report that went away is nobody's failure.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// Tells a sentence.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note { text: text.into() });
    }
}
