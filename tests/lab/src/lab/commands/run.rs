//! `lab shell` and `lab run`: into a machine.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::cli::{Run, Shell};
use crate::machine::enter;
use crate::say;
use crate::state::State;

const OWN_FAILURE: u8 = 125;

/// Opens a shell; on the workstation as its user, since that is who types the product's commands.
pub(crate) fn shell(options: &Shell) -> Result<ExitCode> {
    let fleet = State::choose(options.fleet.as_deref())?;
    let words = match fleet.machine(&options.machine) {
        Some(machine) if machine.user != "root" => vec!["su", "-", &machine.user],
        _ => vec!["/bin/bash", "-l"],
    };
    pass(enter::command(&fleet, &options.machine, &words))
}

/// Runs one command.
pub(crate) fn run(options: &Run) -> Result<ExitCode> {
    let words: Vec<&str> = options.command.iter().map(String::as_str).collect();
    let fleet = State::choose(options.fleet.as_deref());
    pass(fleet.and_then(|fleet| enter::command(&fleet, &options.machine, &words)))
}

/// The command's own exit code; the lab's own failure has one that commands rarely use.
fn pass(command: Result<Command>) -> Result<ExitCode> {
    let mut command = match command {
        Ok(command) => command,
        Err(error) => {
            say::line(format_args!("lab: {error:#}"));
            return Ok(ExitCode::from(OWN_FAILURE));
        }
    };
    let status = command.status().context("cannot start nsenter")?;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}
