//! A terminal: finished steps scroll up, running ones show below with their reason and time.

use std::collections::HashMap;
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::stopped;
use super::locale::is_utf8;
use super::{Report, lines, plain};
use crate::escape::escape;
use crate::event::{Event, Outcome};
use crate::terminal::Modes;

/// Bars for what runs, lines for what ended.
pub(super) struct Live {
    screen: MultiProgress,
    bars: HashMap<String, (ProgressBar, String)>,
    /// The run was stopped: what is told of steps after that is of no more interest.
    stopped: bool,
    /// Until the end of the display.
    _quiet: Option<Modes>,
}

impl Live {
    /// Draws on stderr.
    pub(super) fn new() -> Self {
        Self {
            screen: MultiProgress::new(),
            bars: HashMap::new(),
            stopped: false,
            _quiet: Modes::without_control_echo(),
        }
    }
}

impl Report for Live {
    fn event(&mut self, event: &Event) {
        match event {
            Event::StepStarted { .. } if self.stopped => {}
            Event::StepStarted { step, title, .. } => {
                let bar = self.screen.add(ProgressBar::new_spinner());
                if let Ok(look) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>4}")
                {
                    let ticks = if is_utf8() {
                        look
                    } else {
                        look.tick_chars("|/-\\ ")
                    };
                    bar.set_style(ticks);
                }
                bar.set_message(escape(title));
                bar.enable_steady_tick(Duration::from_millis(120));
                self.bars.insert(step.clone(), (bar, escape(title)));
            }
            Event::StepWaiting {
                step,
                reason,
                patience_seconds,
                ..
            } => {
                if let Some((bar, title)) = self.bars.get(step) {
                    bar.set_message(format!(
                        "{title}: {} (up to {patience_seconds:.0} s)",
                        escape(reason)
                    ));
                }
            }
            Event::StepEnded { step, outcome, .. } => {
                if let Some((bar, _)) = self.bars.remove(step) {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
                if let Some(line) = line(event) {
                    let _ = self.screen.println(colour(*outcome, &line));
                }
            }
            Event::StepDiff { .. } => {
                let text = line(event).unwrap_or_default();
                for line in text.lines() {
                    let _ = self.screen.println(coloured_difference(line));
                }
            }
            Event::RunStopped { .. } => {
                self.stopped = true;
                let text = stopped(event, |step| self.bars.get(step).map(|(_, title)| title));
                for (_, (bar, _)) in self.bars.drain() {
                    bar.finish_and_clear();
                    self.screen.remove(&bar);
                }
                let _ = self.screen.println(plain(&text.unwrap_or_default()));
            }
            other => {
                if let Some(line) = line(other) {
                    let _ = self.screen.println(line);
                }
            }
        }
    }
}

/// The line that an event leaves behind, as this terminal shows it.
fn line(event: &Event) -> Option<String> {
    lines::line(event).map(|line| plain(&line).into_owned())
}

/// Colour by outcome; `NO_COLOR` is honoured by `console`.
fn colour(outcome: Outcome, line: &str) -> String {
    let line = style(line).for_stderr();
    match outcome {
        Outcome::Kept => line.dim(),
        Outcome::Changed => line.green(),
        Outcome::Would | Outcome::Skipped => line.yellow(),
        Outcome::Failed => line.red(),
    }
    .to_string()
}

/// Green for what comes, red for what goes.
fn coloured_difference(line: &str) -> String {
    let plain = style(line).for_stderr();
    match line.trim_start().chars().next() {
        Some('+') => plain.green(),
        Some('-') => plain.red(),
        _ => plain.dim(),
    }
    .to_string()
}
