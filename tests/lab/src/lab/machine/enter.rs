//! Commands inside machines: hosts by their namespaces, VMs through their host.

use std::process::Command;

use anyhow::{Result, bail};

use super::{host_of, leader, namespace, virtual_leader};
use crate::cgroup;
use crate::state::{Role, State};

/// Moves into the cgroups around the machine, so that what is started dies with it.
const JOIN: &str = r#"
for procs in "/sys/fs/cgroup/$1/cgroup.procs" /sys/fs/cgroup/*/"$1/cgroup.procs"; do
    [ ! -e "$procs" ] || echo $$ >"$procs"
done
shift
exec "$@""#;
/// From a host into its VM. The pid file's contract is in the README.
const INTO_VM: &str = r#"
pid=$(cat "/lab/data/vms/$1/leader.pid") && shift && exec nsenter --target "$pid" --all "$@""#;
/// What a login would have set.
const ENVIRONMENT: [&str; 5] = [
    "env",
    "-i",
    "HOME=/root",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
];

/// A command that runs `words` as root on a machine or VM of the fleet.
pub(crate) fn command(fleet: &State, name: &str, words: &[&str]) -> Result<Command> {
    let term = format!(
        "TERM={}",
        std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned())
    );
    let mut command = Command::new("sh");
    if let Some(machine) = fleet.machine(name) {
        let group = cgroup::around(&fleet.name, name);
        if machine.role == Role::Internet {
            // The box is a namespace of this machine's own system.
            let namespace = format!("--net={}", namespace(fleet, machine).display());
            command
                .args(["-c", JOIN, "lab", &group, "nsenter", &namespace])
                .args(words);
            return Ok(command);
        }
        let leader = leader(fleet, machine)?.to_string();
        command.args([
            "-c", JOIN, "lab", &group, "nsenter", "--target", &leader, "--all",
        ]);
        command.args(ENVIRONMENT).arg(term).args(words);
        return Ok(command);
    }
    let Some(host) = host_of(fleet, name) else {
        bail!(
            "fleet {} has no machine or VM called {}: see `cargo lab status`",
            fleet.name,
            name.escape_default()
        );
    };
    let leader = leader(fleet, host)?.to_string();
    let group = cgroup::around(&fleet.name, &host.name);
    command.args([
        "-c", JOIN, "lab", &group, "nsenter", "--target", &leader, "--all",
    ]);
    command.args(["sh", "-c", INTO_VM, "lab", name]);
    command.args(ENVIRONMENT).arg(term).args(words);
    Ok(command)
}

/// A command that runs `words` in a machine's or VM's network, but in this machine's file system.
pub(crate) fn network_only(fleet: &State, name: &str, words: &[&str]) -> Result<Command> {
    let (owner, file) = match (fleet.machine(name), host_of(fleet, name)) {
        (Some(machine), _) => (name, namespace(fleet, machine)),
        (None, Some(host)) => {
            let process = virtual_leader(fleet, host, name)?;
            (host.name.as_str(), format!("/proc/{process}/ns/net").into())
        }
        (None, None) => bail!("fleet {} has no machine or VM called {name}", fleet.name),
    };
    let mut command = Command::new("sh");
    command.args([
        "-c",
        JOIN,
        "lab",
        &cgroup::around(&fleet.name, owner),
        "nsenter",
    ]);
    command.arg(format!("--net={}", file.display())).args(words);
    Ok(command)
}
