//! `lab shell` and `lab run`: into a machine.

use std::io::IsTerminal as _;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

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
    let child = command.spawn().context("cannot start nsenter")?;
    let code = ended(&child)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Waits for nsenter. It stops itself when what it started is stopped, as everything is that still runs when a machine
/// shuts down; and nobody but it can reap that process, without which the machine's end never comes.
fn ended(nsenter: &Child) -> Result<i32> {
    let nsenter = Pid::from_child(nsenter);
    // Where there is one, the person's shell sees to stopped jobs.
    let alone = !std::io::stdin().is_terminal();
    loop {
        let told = waitpid(Some(nsenter), WaitOptions::UNTRACED);
        let status = match told {
            Err(Errno::INTR) => continue,
            told => told.context("cannot wait for nsenter")?,
        };
        let Some((_, status)) = status else { continue };
        if status.stopped() && alone {
            std::thread::sleep(Duration::from_millis(100));
            kill_process(nsenter, Signal::CONT).context("cannot go on")?;
        }
        let code = status.exit_status();
        let code = code.or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        if let Some(code) = code {
            return Ok(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that was told to reboot while a command began on it never came up again.
    #[test]
    fn what_is_stopped_goes_on_and_its_code_comes_back() {
        let code = |script: &str| {
            let child = Command::new("sh").args(["-c", script]).spawn();
            ended(&child.unwrap()).unwrap()
        };
        assert_eq!(code("exit 7"), 7);
        assert_eq!(code("kill -TERM $$"), 143);
        if !std::io::stdin().is_terminal() {
            assert_eq!(code("kill -STOP $$; exit 8"), 8);
        }
    }
}
