//! Groups with more VMs than their max: the autoscaler may have ordered one by the max of before, and takes it back.

use super::nodes::{clock, never_joined, vms};
use super::{add, facts};
use crate::agents;
use crate::plan::Plan;
use crate::status::document::{Drift, Remark};
use crate::status::gather::Observed;
use crate::vm::Vm;

/// A group's VMs beyond its max are a remark while all of these are joining, and drift once one is older.
pub(super) fn surplus(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for daemon in plan.workers() {
        let (Some(facts), Some(vms)) = (facts(seen, &daemon.host), vms(seen, &daemon.group)) else {
            continue;
        };
        // What never joined is drift of its own, and goes.
        let gone = never_joined(plan, daemon, seen);
        let mut left: Vec<&Vm> = vms.iter().filter(|vm| !gone.contains(vm)).collect();
        let count = left.len();
        let over = count.saturating_sub(usize::try_from(daemon.max).unwrap_or(usize::MAX));
        if over == 0 {
            continue;
        }
        let now = clock(facts);
        // The youngest are those that should not have come.
        left.sort_by_key(|vm| agents::age(vm, now).unwrap_or(i64::MAX));
        left.truncate(over);
        let what = format!(
            "{} has {count} VMs, and its max is {}",
            daemon.group, daemon.max
        );
        if left.iter().all(|vm| agents::is_young(vm, now)) {
            remarks.push(Remark {
                kind: "vms-over-max".to_owned(),
                machine: daemon.host.clone(),
                what,
            });
            continue;
        }
        let nodes = seen.cluster.as_ref().map_or(&[][..], |it| &it.nodes);
        let nodes = left.iter().filter_map(|vm| {
            let mut nodes = nodes.iter();
            let node = nodes.find(|node| agents::is_node_of(node, &daemon.group, vm))?;
            node["metadata"]["name"].as_str()
        });
        let mut mend: Vec<String> = nodes
            .map(|node| {
                format!(
                    "slicer-k3s kubectl drain {node} --ignore-daemonsets --delete-emptydir-data"
                )
            })
            .collect();
        mend.insert(
            0,
            format!(
                "raise `max` of [hosts.{}.workers]; or drain, and the autoscaler removes the VM:",
                daemon.host
            ),
        );
        add(drift, "vms-over-max", &daemon.host, what, mend.join("\n"));
    }
    remarks
}
