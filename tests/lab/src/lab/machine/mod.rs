//! Machines: systemd in a container that is able to carry further ones.

mod disguise;
pub(crate) mod enter;
pub(crate) mod furnish;
pub(crate) mod start;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::network;
use crate::state::{Machine, Role, State};

/// Whether the process that carries the machine is there.
pub(crate) fn alive(machine: &Machine) -> bool {
    machine
        .supervisor
        .is_some_and(|process| Path::new(&format!("/proc/{process}")).exists())
}

/// The machine's first process, as this machine's process table knows it.
pub(crate) fn leader(fleet: &State, machine: &Machine) -> Result<u32> {
    let supervisor = machine
        .supervisor
        .filter(|_| alive(machine))
        .with_context(|| {
            format!(
                "{} does not run: `cargo lab down`, then up again",
                machine.name
            )
        })?;
    if machine.role == Role::Internet {
        return Ok(supervisor);
    }
    let children =
        std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"))?;
    for child in children.split_whitespace() {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let first_inside = status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("1"));
        if first_inside {
            return child
                .parse()
                .context("the kernel lists a process that is no number");
        }
    }
    bail!(
        "{} is just starting or stopping; its console is in {}",
        machine.name,
        fleet
            .machine_directory(&machine.name)
            .join("console.log")
            .display()
    )
}

/// The VMs of a host: the Slicer stand-in keeps a directory for each.
pub(crate) fn virtual_machines(fleet: &State, host: &Machine) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(fleet.machine_directory(&host.name).join("data/vms"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("leader.pid").exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
    names.sort();
    names
}

/// The host that a VM of this name runs on.
pub(crate) fn host_of<'a>(fleet: &'a State, vm: &str) -> Option<&'a Machine> {
    fleet
        .hosts()
        .find(|host| virtual_machines(fleet, host).iter().any(|name| name == vm))
}

/// The machine's network namespace.
pub(crate) fn namespace(fleet: &State, machine: &Machine) -> std::path::PathBuf {
    network::file(&network::namespace(&fleet.name, &machine.name))
}
