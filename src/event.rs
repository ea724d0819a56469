//! The event stream: what a run tells, as a versioned contract (`--output ndjson`, docs/events.md).

use serde::Serialize;
use tokio::sync::mpsc;

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

/// In which way a machine was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// A connection was made.
    Connect,
    /// One of the closed set of looks, which change nothing.
    Look,
    /// A command that may change the machine.
    Change,
    /// A request to Slicer's API.
    Request,
}

impl Asked {
    /// How often `-v` must be given for it to be told.
    pub fn verbosity(self) -> u8 {
        match self {
            Self::Connect | Self::Change => 1,
            Self::Look | Self::Request => 2,
        }
    }
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
        /// Seconds the command took before its steps: connecting, looking, planning.
        before_seconds: f64,
    },
    /// A step is being looked at.
    StepStarted {
        /// `name/subject`.
        step: String,
        /// Imperative title.
        title: String,
        /// Seconds since `run-started`.
        at_seconds: f64,
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
        /// Seconds from `run-started` to its own start.
        at_seconds: f64,
        /// Of `seconds`: applying.
        applied_seconds: f64,
        /// Of `seconds`: waiting for what was applied to become true.
        waited_seconds: f64,
        /// The step whose end it waited for last before it began.
        after: Option<String>,
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
        /// The chain of steps that made it as long as it was.
        critical_path: Vec<String>,
    },
    /// The run was stopped, or lost its turn, before its end.
    RunStopped {
        /// Why.
        reason: String,
        /// Steps that had begun and not ended.
        in_progress: Vec<String>,
        /// Steps that had ended.
        ended: usize,
        /// Seconds in all.
        seconds: f64,
    },
    /// A machine was asked something: told with `-v`, always in the log.
    MachineAsked {
        /// The host or VM.
        machine: String,
        /// In which way.
        kind: Asked,
        /// The command or request, bounded; never its stdin, body or output.
        command: String,
        /// Exit or HTTP status; none where there was no answer.
        status: Option<i32>,
        /// Why there was no answer.
        error: Option<String>,
        /// Seconds it took.
        seconds: f64,
    },
    /// Something ended the command, before its steps or in one of them; after everything else.
    Failed {
        /// Contract version: where the command did not come to its steps, this is the first line.
        version: u32,
        /// The error's stable code (`slicer-k3s explain CODE`).
        code: &'static str,
        /// What failed, on which machine.
        what: String,
        /// Why.
        cause: Option<String>,
        /// The next command or edit.
        hint: Option<String>,
    },
    /// A sentence for people that belongs to no step.
    Note {
        /// The sentence.
        text: String,
    },
}

/// Where events go; a report listens at the other end.
#[derive(Clone)]
pub struct Events {
    report: mpsc::UnboundedSender<Event>,
    keep: fn(&Event),
}

impl Events {
    /// A stream and its listening end; `keep` writes down what is sent, at once.
    pub fn channel(keep: fn(&Event)) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (report, receiver) = mpsc::unbounded_channel();
        (Self { report, keep }, receiver)
    }

    /// Tells, and keeps it.
    pub fn send(&self, event: Event) {
        (self.keep)(&event);
        self.pass(event);
    }

    /// Tells what is kept already; a report that went away is nobody's failure.
    pub fn pass(&self, event: Event) {
        let _ = self.report.send(event);
    }

    /// Tells a sentence.
    pub fn note(&self, text: impl Into<String>) {
        self.send(Event::Note { text: text.into() });
    }
}
