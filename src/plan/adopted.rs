//! A daemon that a person set up: it keeps the directory and the YAML that it was given, and its VMs run on.

use serde::{Deserialize, Serialize};

use super::Daemon;
use crate::failure::{Code, Failure, Failures};

/// What is the person's about a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Its working directory, where its VMs' disks lie.
    pub directory: String,
    /// Its YAML, absolute.
    pub file: String,
    /// Its unit, where it has one; else it was started by hand, and our unit starts it from the next boot on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// VMs that start with it.
    pub count: u32,
    /// vCPUs of a VM.
    pub cpu: u32,
    /// RAM of a VM, GiB.
    pub ram_gb: u32,
    /// Disk of a VM, GB.
    pub storage_gb: u32,
}

/// The systemd unit of a group's daemon: a person's where one wrote it, else ours.
pub fn unit_of(group: &str, own: Option<&Adopted>) -> String {
    let theirs = own.and_then(|own| own.unit.clone());
    theirs.unwrap_or_else(|| format!("slicer-{group}.service"))
}

/// What cluster.toml wants otherwise than the person's own YAML says.
pub(super) fn disagreement(daemon: &Daemon, section: &str) -> Failures {
    let Some(adopted) = &daemon.adopted else {
        return Vec::new();
    };
    let sizes = [
        ("servers", adopted.count, daemon.count),
        ("cpu", adopted.cpu, daemon.cpu),
        ("ram-gb", adopted.ram_gb, daemon.ram_gb),
        ("storage-gb", adopted.storage_gb, daemon.storage_gb),
    ];
    let differ = sizes.iter().filter(|(_, is, asked)| is != asked);
    differ
        .map(|(key, is, asked)| {
            Failure::new(
                Code::PlanConflict,
                format!(
                    "{key} of group {} on {} is {is}, cluster.toml asks for {asked}",
                    daemon.group, daemon.host
                ),
            )
            .because(format!(
                "the group was adopted: {} says so, and it is not ours to write",
                adopted.file
            ))
            .hint(format!(
                "set `{key} = {is}` in [{section}] of cluster.toml; workers' groups can be made anew: slicer-k3s \
                 remove-host and add-host"
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{adopted, plan};

    #[test]
    fn another_size_is_refused_with_the_way_to_get_there() {
        let mut daemon = plan().daemons[1].clone();
        assert!(disagreement(&daemon, "x").is_empty());
        daemon.adopted = Some(adopted(&daemon));
        assert!(disagreement(&daemon, "x").is_empty());
        daemon.ram_gb += 4;
        let told = disagreement(&daemon, "hosts.ryzen.workers");
        assert_eq!(told.len(), 1);
        assert!(told[0].to_string().contains("ram-gb of group k3s-agents-1"));
    }
}
