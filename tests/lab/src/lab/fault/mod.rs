//! Faults: things that break on real machines, made on purpose and taken back again.

mod files;
mod link;
mod machine;
mod slicer;
mod ssh;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::cli::FaultKind;
use crate::exec::output_of;
use crate::machine::enter;
use crate::say;
use crate::state::{State, replace};

/// A fault that lasts until it is cleared.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Fault {
    /// For the person.
    what: String,
    /// Where.
    machine: String,
    /// How to take it back, in order.
    undo: Vec<Undo>,
}

/// One thing to take back.
#[derive(Debug, Deserialize, Serialize)]
enum Undo {
    /// A file that makes the fault.
    Remove(PathBuf),
    /// A command on the machine.
    Run(Vec<String>),
    /// A process of the lab's.
    Kill(u32),
    /// The machine's cable.
    Plug,
}

/// Makes a fault; one that lasts is remembered.
pub(crate) fn make(fleet: &State, kind: &FaultKind) -> Result<()> {
    let made = match kind {
        FaultKind::SshRefused { machine } => Some(ssh::refused(fleet, machine)?),
        FaultKind::SshReset { machine, after_ms } => Some(ssh::reset(fleet, machine, *after_ms)?),
        FaultKind::SshSlow { machine, ms } => Some(ssh::slow(fleet, machine, *ms)?),
        FaultKind::RouteLost { machine, cidr } => {
            link::route_lost(fleet, machine, cidr)?;
            None
        }
        FaultKind::LinkDown { machine } => Some(link::down(fleet, machine)?),
        FaultKind::LinkFlap { machine, ms } => {
            link::flap(fleet, machine, *ms)?;
            None
        }
        FaultKind::Api {
            machine,
            mode,
            group,
            ms,
        } => Some(slicer::api(fleet, machine, group, *mode, *ms)?),
        FaultKind::VmBoot { machine, mode, vm } => {
            Some(slicer::vm_boot(fleet, machine, vm, *mode)?)
        }
        FaultKind::Userdata { machine, vm } => Some(slicer::userdata(fleet, machine, vm)?),
        FaultKind::Token { machine, mode } => slicer::token(fleet, machine, *mode)?,
        FaultKind::DaemonRestart { machine } => {
            slicer::restart(fleet, machine)?;
            None
        }
        FaultKind::VmDies { vm } => {
            machine::vm_dies(fleet, vm)?;
            None
        }
        FaultKind::DiskLost { vm } => {
            machine::disk_lost(fleet, vm)?;
            None
        }
        FaultKind::Reboot { machine } => {
            machine::reboot(fleet, machine)?;
            None
        }
        FaultKind::DiskFull { machine, paths } => Some(machine::disk_full(fleet, machine, paths)?),
        FaultKind::Date { machine, seconds } => Some(machine::date(fleet, machine, *seconds)?),
        FaultKind::Name { name, mode } => Some(files::name(fleet, name, *mode)?),
        FaultKind::Clear { machine } => return clear(fleet, machine.as_deref()),
        FaultKind::List => return list(fleet),
    };
    if let Some(fault) = made {
        say::line(format_args!(
            "{} on {}; `cargo lab fault clear` ends it",
            fault.what, fault.machine
        ));
        let mut all = remembered(fleet)?;
        all.push(fault);
        remember(fleet, &all)?;
    }
    Ok(())
}

fn list(fleet: &State) -> Result<()> {
    for fault in remembered(fleet)? {
        say::answer(format_args!("{:<13} {}", fault.machine, fault.what));
    }
    Ok(())
}

/// Takes back, newest first; one that cannot be taken back (its machine is gone) does not hold up the others.
fn clear(fleet: &State, machine: Option<&str>) -> Result<()> {
    let (gone, kept): (Vec<Fault>, Vec<Fault>) = remembered(fleet)?
        .into_iter()
        .partition(|fault| machine.is_none_or(|name| name == fault.machine));
    remember(fleet, &kept)?;
    for fault in gone.iter().rev() {
        for undo in &fault.undo {
            if let Err(error) = take_back(fleet, &fault.machine, undo) {
                say::line(format_args!(
                    "lab: {} on {}: {error:#}",
                    fault.what, fault.machine
                ));
            }
        }
    }
    Ok(())
}

fn take_back(fleet: &State, machine: &str, undo: &Undo) -> Result<()> {
    match undo {
        Undo::Remove(path) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        },
        Undo::Run(words) => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            on(fleet, machine, &words).map(drop)
        }
        Undo::Kill(process) => {
            let process = i32::try_from(*process).ok().and_then(Pid::from_raw);
            // Gone already is as good.
            let _ = process.map(|process| kill_process(process, Signal::KILL));
            Ok(())
        }
        Undo::Plug => link::plug(fleet, machine),
    }
}

/// Runs a command as root on a machine or VM; what it printed.
fn on(fleet: &State, machine: &str, words: &[&str]) -> Result<String> {
    let shown = words.first().copied().unwrap_or_default();
    // A machine with a fault may hang; the lab must not.
    let limited: Vec<&str> = ["timeout", "60"].iter().chain(words).copied().collect();
    output_of(
        &format!("{shown} on {machine}"),
        &mut enter::command(fleet, machine, &limited)?,
    )
}

/// Refuses a fault where it makes no sense.
fn must_be_host(fleet: &State, machine: &str) -> Result<()> {
    if fleet.hosts().any(|host| host.name == machine) {
        return Ok(());
    }
    let hosts = fleet
        .hosts()
        .map(|host| host.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    bail!(
        "{} is no host of fleet {}: there are {hosts}",
        machine.escape_default(),
        fleet.name
    )
}

fn remembered(fleet: &State) -> Result<Vec<Fault>> {
    match std::fs::read(fleet.directory.join("faults.json")) {
        Ok(text) => serde_json::from_slice(&text).context("the fleet's list of faults is damaged"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn remember(fleet: &State, faults: &[Fault]) -> Result<()> {
    replace(
        &fleet.directory.join("faults.json"),
        &serde_json::to_vec_pretty(faults)?,
    )
}
