//! Disks that are nearly full, and Nodes that say that they lack disk, memory or processes.

use super::{add, facts};
use crate::kubernetes::condition;
use crate::names::kubernetes::TRUE;
use crate::plan::Plan;
use crate::status::document::{Drift, Node};
use crate::status::gather::Observed;

/// Below this much free disk a host can neither unpack an image nor give a new VM its disk, in GB.
const LEAST_ON_HOST: u32 = 2;

/// A Node has pressure on its disk with less than one part in so many free.
///
/// Source: k3s-io/k3s@af977adfe pkg/daemons/agent/agent.go (`evictionHard`, `nodefs.available: 5%`).
const LEAST_PART: u64 = 20;

/// With so much free a disk is not full, however large it is, in bytes.
const ENOUGH: u64 = 2_000_000_000;

/// Conditions of a Node, each with what shows more of it in its VM.
///
/// Source: Kubernetes, `NodeConditionType` (k8s.io/api/core/v1).
const PRESSURES: [(&str, &str); 3] = [
    ("DiskPressure", "df -h"),
    ("MemoryPressure", "free -m"),
    ("PIDPressure", "ps aux"),
];

/// Hosts whose disk is nearly full: told before what fails for that reason.
pub(super) fn of_hosts(seen: &Observed, drift: &mut Vec<Drift>) {
    for (name, facts) in &seen.hosts {
        let Ok(facts) = facts else { continue };
        let free = facts.disk_free_gb();
        if free < LEAST_ON_HOST {
            let what = format!("less than {} GB free where its VMs' disks are", free + 1);
            let mend = format!("on {name}: df -h /var/lib");
            add(drift, "disk-full", name, what, mend);
        }
    }
}

/// Nodes under pressure, and servers whose disk is nearly full while their kubelet does not say so.
pub(super) fn of_nodes(plan: &Plan, seen: &Observed, nodes: &[Node], drift: &mut Vec<Drift>) {
    let Ok(cluster) = &seen.cluster else { return };
    let mut told = Vec::new();
    for node in nodes {
        let off = |host: &String| facts(seen, host).is_none();
        let mut listed = cluster.nodes.iter();
        let listed = listed.find(|listed| listed["metadata"]["name"] == node.name.as_str());
        let (Some(listed), false) = (listed, node.host.as_ref().is_some_and(off)) else {
            continue;
        };
        for (pressure, words) in PRESSURES {
            if condition(listed, pressure) != Some(TRUE) {
                continue;
            }
            let mend = match &node.vm {
                Some(vm) if node.role != "foreign" => format!("slicer-k3s exec {vm} -- {words}"),
                _ => format!("slicer-k3s kubectl describe node {}", node.name),
            };
            let what = format!(
                "Node {} reports {pressure}: pods are evicted from it",
                node.name
            );
            add(drift, "node-pressure", &node.name, what, mend);
            told.push(&node.name);
        }
    }
    for (server, disk) in &seen.disks {
        let planned = plan.servers.iter().any(|known| known.name == *server);
        let full = disk.free < ENOUGH.min(disk.size / LEAST_PART);
        if planned && full && !told.contains(&server) {
            let (free, size) = (disk.free / 1_000_000, disk.size / 1_000_000);
            let what = format!("its disk is nearly full: {free} of {size} MB free");
            let mend = format!("slicer-k3s exec {server} -- df -h");
            add(drift, "disk-full", server, what, mend);
        }
    }
}
