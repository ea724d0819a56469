//! Plain lines: no terminal, or a log that somebody reads later.

use std::collections::HashMap;

use super::{Report, say};
use crate::escape::escape;
use crate::event::{Asked, Event, Outcome};

/// Seconds between two lines about the same waiting step.
const REPEAT_SECONDS: f64 = 10.0;

/// What is over sooner is no wait that anybody wants to read of.
const FIRST_SECONDS: f64 = 1.0;

/// One line a step; where it waits, one that tells how long it may, and another now and then.
#[derive(Default)]
pub(super) struct Lines {
    titles: HashMap<String, String>,
    last_told: HashMap<String, f64>,
}

impl Report for Lines {
    fn event(&mut self, event: &Event) {
        if let Some(text) = self.text(event) {
            say(&text);
        }
    }
}

impl Lines {
    fn text(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::StepWaiting {
                step,
                reason,
                elapsed_seconds,
                patience_seconds,
            } => {
                let last = self.last_told.get(step);
                let next = last.map_or(FIRST_SECONDS, |last| last + REPEAT_SECONDS);
                if *elapsed_seconds < next {
                    return None;
                }
                let time = match last {
                    None => format!("up to {patience_seconds:.0} s"),
                    Some(_) => format!("{elapsed_seconds:.0} of {patience_seconds:.0} s"),
                };
                self.last_told.insert(step.clone(), *elapsed_seconds);
                let title = escape(self.titles.get(step).unwrap_or(step));
                Some(format!("  .. {title} ({time}): {}", escape(reason)))
            }
            Event::RunStopped { .. } => stopped(event, |step| self.titles.get(step)),
            other => {
                if let Event::StepStarted { step, title, .. } = other {
                    self.titles.insert(step.clone(), title.clone());
                }
                line(other)
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
        | Event::StepWaiting { .. }
        // Told by whoever ends the command, with its cause and hint.
        | Event::Failed { .. } => None,
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
        Event::RunStopped { .. } => stopped(event, |_| None),
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

/// Where a run was stopped: people know steps by their titles.
pub(super) fn stopped<'t>(
    event: &Event,
    title: impl Fn(&str) -> Option<&'t String>,
) -> Option<String> {
    let Event::RunStopped {
        in_progress,
        ended,
        seconds,
        ..
    } = event
    else {
        return None;
    };
    let titles = in_progress.iter();
    let titles: Vec<String> = titles
        .map(|step| escape(title(step).unwrap_or(step)))
        .collect();
    let steps = match titles.len() {
        0 => "no step in progress".to_owned(),
        _ => format!("in progress: {}", titles.join("; ")),
    };
    Some(format!(
        "stopped after {seconds:.1} s, {ended} steps ended; {steps}"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// It listed ids that no one had seen before.
    #[test]
    fn a_stopped_run_names_what_was_in_progress_as_its_lines_do() {
        let mut lines = Lines::default();
        for (step, title) in [("k3s-started/a", "Start k3s on a"), ("vm-up/b", "Boot b")] {
            lines.text(&Event::StepStarted {
                step: step.into(),
                title: title.into(),
                at_seconds: 0.0,
            });
        }
        let told = lines.text(&Event::RunStopped {
            reason: "stopped by Ctrl-C".into(),
            in_progress: vec!["vm-up/b".into(), "k3s-started/a".into()],
            ended: 3,
            seconds: 1.25,
        });
        assert_eq!(
            told.as_deref(),
            Some("stopped after 1.2 s, 3 steps ended; in progress: Boot b; Start k3s on a")
        );
    }

    /// Without a terminal, too, a wait begins with how long it may take, and is not told at every look.
    #[test]
    fn a_wait_tells_its_limit_first_and_then_now_and_again() {
        let mut lines = Lines::default();
        lines.text(&Event::StepStarted {
            step: "vm-up/a".into(),
            title: "Boot a".into(),
            at_seconds: 0.0,
        });
        let told: Vec<String> = [0.2, 0.6, 1.1, 2.0, 10.9, 11.2, 12.0, 21.5]
            .into_iter()
            .filter_map(|elapsed_seconds| {
                lines.text(&Event::StepWaiting {
                    step: "vm-up/a".into(),
                    reason: "no\u{1b}[2J agent".into(),
                    elapsed_seconds,
                    patience_seconds: 600.0,
                })
            })
            .collect();
        assert_eq!(
            told,
            [
                "  .. Boot a (up to 600 s): no\\u{1b}[2J agent",
                "  .. Boot a (11 of 600 s): no\\u{1b}[2J agent",
                "  .. Boot a (22 of 600 s): no\\u{1b}[2J agent",
            ]
        );
    }
}
