//! What this process does, line by line, for the evening when something goes wrong: every event, and every command that
//! ran on a machine with its status and time. Never what it read from stdin, never what it printed, never a secret.
//!
//! One a process, because machines are asked before there is a run and by whoever has them; it keeps its lines until
//! [`begin`] names a directory.

mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::escape::harmless_json;
use crate::event::{Asked, Event, Events};
use crate::failure::{Failure, Result};

/// Lines kept of a process that never begins a log.
const KEPT: usize = 2_000;

/// Longest text of a command that is kept, in characters.
const COMMAND: usize = 400;

static LOG: Mutex<Log> = Mutex::new(Log {
    lines: Vec::new(),
    file: None,
    running: BTreeMap::new(),
    ended: 0,
    told: 0,
    tell: |_| {},
    audience: None,
});

struct Log {
    lines: Vec<String>,
    file: Option<file::LogFile>,
    running: BTreeMap<String, Instant>,
    ended: usize,
    told: u8,
    tell: fn(&Event),
    audience: Option<Events>,
}

/// An event and when it happened.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

/// Tells, by `tell` where no run does it, which commands run on machines: 1 those that change one, 2 every look as well.
pub fn verbose(level: u8, tell: fn(&Event)) {
    let mut log = log();
    log.told = level;
    log.tell = tell;
}

/// Opens the log of a command that acts; an earlier one of this process goes on. A directory that cannot be written
/// must not keep anybody from mending a cluster: then there is no log.
pub fn begin(directory: &Path, command: &str) {
    let mut log = log();
    if log.file.is_some() {
        return;
    }
    log.file = file::LogFile::create(directory, command);
    let lines = std::mem::take(&mut log.lines);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    log.keep(&Event::Note {
        text: format!(
            "slicer-k3s {} {}",
            env!("CARGO_PKG_VERSION"),
            arguments.join(" ")
        ),
    });
    for line in lines {
        log.write(line);
    }
}

/// Where the log is, once it was begun.
pub fn path() -> Option<PathBuf> {
    log().file.as_ref().map(|file| file.path().to_owned())
}

/// Keeps an event.
pub fn event(event: &Event) {
    let mut log = log();
    match event {
        Event::StepStarted { step, .. } => {
            log.running.insert(step.clone(), Instant::now());
        }
        Event::StepEnded { step, .. } => {
            log.running.remove(step);
            log.ended += 1;
        }
        _ => {}
    }
    log.keep(event);
}

/// Keeps a sentence.
pub fn note(text: impl Into<String>) {
    log().keep(&Event::Note { text: text.into() });
}

/// Where the run stands: the steps in progress, longest first, and how many have ended.
pub fn standing() -> (Vec<String>, usize) {
    let log = log();
    let mut steps: Vec<(&String, &Instant)> = log.running.iter().collect();
    steps.sort_by_key(|(_, since)| **since);
    let steps = steps.into_iter().map(|(step, _)| step.clone()).collect();
    (steps, log.ended)
}

/// From now on `-v` speaks through the report of a run, which knows what else is on the terminal; `None`: it is over.
pub fn speak_through(audience: Option<&Events>) {
    log().audience = audience.cloned();
}

/// Keeps what a machine was asked, and how it ended.
pub fn asked(machine: &str, kind: Asked, command: &str, took: Duration, end: &Result<i32>) {
    let event = Event::MachineAsked {
        machine: machine.to_owned(),
        kind,
        command: command.chars().take(COMMAND).collect(),
        status: end.as_ref().ok().copied(),
        error: end.as_ref().err().map(Failure::to_string),
        seconds: took.as_secs_f64(),
    };
    let mut log = log();
    log.keep(&event);
    if log.told >= kind.verbosity() {
        match &log.audience {
            Some(audience) => audience.pass(event),
            None => (log.tell)(&event),
        }
    }
}

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn keep(&mut self, event: &Event) {
        let time = crate::time::utc(std::time::SystemTime::now());
        if let Ok(line) = serde_json::to_string(&Line { time, event }) {
            self.write(harmless_json(&line));
        }
    }

    fn write(&mut self, line: String) {
        match &mut self.file {
            Some(file) => file.write(&line),
            None if self.lines.len() < KEPT => self.lines.push(line),
            None => {}
        }
    }
}
