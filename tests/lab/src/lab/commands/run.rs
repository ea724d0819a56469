//! `lab shell` and `lab run`: into a machine.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::cli::{Run, Shell};
use crate::machine::enter;
use crate::state::State;

/// Opens a shell; on the workstation as its user, since that is who types the product's commands.
pub(crate) fn shell(options: &Shell) -> Result<ExitCode> {
    let fleet = State::choose(options.fleet.as_deref())?;
    let words = match fleet.machine(&options.machine) {
        Some(machine) if machine.user != "root" => vec!["su", "-", &machine.user],
        _ => vec!["/bin/bash", "-l"],
    };
    pass(enter::command(&fleet, &options.machine, &words)?)
}

/// Runs one command.
pub(crate) fn run(options: &Run) -> Result<ExitCode> {
    let fleet = State::choose(options.fleet.as_deref())?;
    let words: Vec<&str> = options.command.iter().map(String::as_str).collect();
    pass(enter::command(&fleet, &options.machine, &words)?)
}

fn pass(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = command.status().context("cannot start nsenter")?;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
