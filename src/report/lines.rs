//! Plain lines: no terminal, or a log that somebody reads later.

use std::collections::HashMap;

use super::{Report, escape, say};
use crate::event::{Asked, Event, Outcome};

/// Seconds between two lines about the same waiting step.
const REPEAT_SECONDS: f64 = 10.0;

/// One line a step, and a line now and then while one waits.
#[derive(Default)]
pub(super) struct Lines {
    last_told: HashMap<String, f64>,
}

impl Report for Lines {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StepWaiting {
                step,
                reason,
                elapsed_seconds,
                patience_seconds,
            } => {
                let last = self.last_told.entry(step.clone()).or_default();
                if *elapsed_seconds - *last >= REPEAT_SECONDS {
                    *last = *elapsed_seconds;
                    say(&format!(
                        "  .. {} ({elapsed_seconds:.0} of {patience_seconds:.0} s): {}",
                        escape(step),
                        escape(reason)
                    ));
                }
            }
            other => {
                if let Some(line) = line(other) {
                    say(&line);
                }
            }
        }
    }
}

/// The line that an event leaves behind, without colour.
pub(super) fn line(event: &Event) -> Option<String> {
    match event {
        Event::RunStarted {
            cluster,
            command,
            steps,
            ..
        } => Some(format!("{command} {}: {steps} steps", escape(cluster))),
        // What follows from a failure would bury it; the last line counts it.
        Event::StepEnded {
            outcome: Outcome::Skipped,
            ..
        }
        | Event::StepStarted { .. }
        | Event::StepWaiting { .. } => None,
        Event::StepEnded {
            title,
            outcome,
            note,
            seconds,
            ..
        } => {
            let note = if note.is_empty() {
                String::new()
            } else {
                format!(": {}", escape(note))
            };
            let time = if *seconds < 0.05 {
                String::new()
            } else {
                format!(" ({seconds:.1} s)")
            };
            Some(format!("{} {}{note}{time}", mark(*outcome), escape(title)))
        }
        Event::RunEnded {
            changed,
            kept,
            would,
            failed,
            skipped,
            seconds,
            ..
        } => {
            let parts = [
                (*changed, "changed"),
                (*kept, "kept"),
                (*would, "would change"),
                (*failed, "failed"),
                (*skipped, "skipped"),
            ];
            let parts: Vec<String> = parts
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{count} {word}"))
                .collect();
            Some(format!("{} in {seconds:.1} s", parts.join(", ")))
        }
        Event::RunStopped {
            in_progress,
            ended,
            seconds,
            ..
        } => {
            let steps = match in_progress.len() {
                0 => "no step in progress".to_owned(),
                _ => format!("in progress: {}", escape(&in_progress.join(", "))),
            };
            Some(format!(
                "stopped after {seconds:.1} s, {ended} steps ended; {steps}"
            ))
        }
        Event::StepDiff { diff, .. } => {
            let lines: Vec<String> = diff
                .lines()
                .map(|line| format!("    {}", escape(line)))
                .collect();
            Some(lines.join("\n"))
        }
        Event::MachineAsked { .. } => asked(event),
        Event::Note { text } => Some(escape(text)),
    }
}

/// What a machine was asked.
fn asked(event: &Event) -> Option<String> {
    let Event::MachineAsked {
        machine,
        kind,
        command,
        status,
        error,
        seconds,
    } = event
    else {
        return None;
    };
    let kind = match kind {
        Asked::Connect => "connect",
        Asked::Look => "look",
        Asked::Change => "change",
        Asked::Request => "request",
    };
    let end = match (status, error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => escape(error),
        (None, None) => "no answer".to_owned(),
    };
    Some(format!(
        "    {} {kind} ({seconds:.2} s, {end}): {}",
        escape(machine),
        escape(command)
    ))
}

/// One character an outcome.
pub(super) fn mark(outcome: Outcome) -> char {
    match outcome {
        Outcome::Kept => '=',
        Outcome::Changed => '+',
        Outcome::Would => '~',
        Outcome::Failed => 'x',
        Outcome::Skipped => '-',
    }
}
