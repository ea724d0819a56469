//! Machines: systemd in a container that is able to carry further ones.

mod disguise;
pub(crate) mod enter;
pub(crate) mod furnish;
mod networking;
pub(crate) mod start;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::state::{Machine, Role, State};
use crate::{cgroup, network};

/// Whether the process that carries the machine is there.
pub(crate) fn alive(fleet: &State, machine: &Machine) -> bool {
    let ours = cgroup::path(&fleet.name, &machine.name);
    machine.supervisor.is_some_and(|process| {
        // The number may have gone to somebody else since.
        std::fs::read_to_string(format!("/proc/{process}/cgroup"))
            .is_ok_and(|groups| groups.contains(&ours))
    })
}

/// The machine's first process, as this machine's process table knows it.
pub(crate) fn leader(fleet: &State, machine: &Machine) -> Result<u32> {
    let supervisor = machine
        .supervisor
        .filter(|_| alive(fleet, machine))
        .with_context(|| {
            format!(
                "{} does not run: `cargo lab down`, then up again",
                machine.name
            )
        })?;
    if machine.role == Role::Internet {
        return Ok(supervisor);
    }
    // The starter, nspawn, and the machine's first process lie below one another.
    let nspawns = children(supervisor);
    let inside = nspawns
        .iter()
        .flat_map(|process| children(*process))
        .find(|process| {
            // Two views of it: this machine's and its own.
            ids(*process).is_some_and(|ids| ids.len() == 2 && ids[1] == 1)
        });
    if let Some(process) = inside {
        return Ok(process);
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
    let Ok(leader) = leader(fleet, host) else {
        return Vec::new();
    };
    // The host's own view of its processes.
    let processes = PathBuf::from(format!("/proc/{leader}/root/proc"));
    let mut names: Vec<String> =
        std::fs::read_dir(fleet.machine_directory(&host.name).join("data/vms"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                // A host that rebooted leaves the files of VMs that are gone.
                std::fs::read_to_string(entry.path().join("leader.pid"))
                    .is_ok_and(|pid| processes.join(pid.trim()).exists())
            })
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

/// The host whose Slicer keeps a VM of this name, whether it runs or not.
pub(crate) fn keeper_of<'a>(fleet: &'a State, vm: &str) -> Option<&'a Machine> {
    fleet.hosts().find(|host| {
        let record = format!("data/vms/{vm}/vm.json");
        fleet.machine_directory(&host.name).join(record).is_file()
    })
}

/// A VM's first process, as this machine's process table knows it; the pid file has the host's view.
pub(crate) fn virtual_leader(fleet: &State, host: &Machine, vm: &str) -> Result<u32> {
    let file = fleet
        .machine_directory(&host.name)
        .join(format!("data/vms/{vm}/leader.pid"));
    let inside = std::fs::read_to_string(&file)
        .with_context(|| format!("VM {vm} does not run: {} is missing", file.display()))?;
    let inside: u32 = inside
        .trim()
        .parse()
        .context("the VM's pid file holds no number")?;
    for process in cgroup::processes(&cgroup::path(&fleet.name, &host.name))? {
        let process = u32::try_from(process)?;
        // Three views of it: this machine's, the host's, its own.
        if ids(process).is_some_and(|ids| ids.len() == 3 && ids[1] == inside && ids[2] == 1) {
            return Ok(process);
        }
    }
    bail!("VM {vm} is just starting or stopping: its process {inside} is not there")
}

/// The machine's network namespace.
pub(crate) fn namespace(fleet: &State, machine: &Machine) -> PathBuf {
    network::file(&network::namespace(&fleet.name, &machine.name))
}

fn children(process: u32) -> Vec<u32> {
    std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// A process's number in each PID namespace that it is in, outermost first.
fn ids(process: u32) -> Option<Vec<u32>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().map(|id| id.parse().ok()).collect()
}
