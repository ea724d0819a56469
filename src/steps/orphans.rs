//! VMs of a group that have no Node. The autoscaler does not see them: it counts a failed join from zero as "upcoming" for
//! ever, and what it could not delete while the group's API was silent runs on. They are deleted, and it is restarted. Only on
//! whole answers: what did not come is never taken for what is not there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::recount::recount;
use crate::agents;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::pipeline::Hands;
use crate::plan::Daemon;
use crate::remote::Look;
use crate::slicer::Vm;
use crate::world::World;

/// The VMs of a group without a Node, and all Nodes.
pub(super) struct Orphans {
    pub(super) vms: Vec<Vm>,
    nodes: Vec<Value>,
}

/// The group's VMs that have no Node.
pub(super) async fn find(
    world: &World,
    kubernetes: &Kubernetes,
    daemon: &Daemon,
) -> Result<Orphans> {
    let vms = world.slicer(daemon).await?.vms(&daemon.group).await?;
    // The Nodes second: a VM that joins between the two looks must not pass for one without.
    let nodes = kubernetes.list(&["nodes"]).await?;
    let left = agents::without_node(&daemon.group, &vms, &nodes);
    let vms = left.into_iter().cloned().collect();
    Ok(Orphans { vms, nodes })
}

impl Orphans {
    /// Their names.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.vms.iter().map(|vm| vm.hostname.clone()).collect()
    }

    /// One that was made so recently that it may still be joining.
    pub(super) async fn joining(&self, world: &World, daemon: &Daemon) -> Result<Option<String>> {
        if self.vms.is_empty() {
            return Ok(None);
        }
        let now = clock(world, daemon).await?;
        let young = self.vms.iter().find(|vm| agents::is_young(vm, now));
        Ok(young.map(|vm| vm.hostname.clone()))
    }

    /// How long in seconds each has had to join; 0 where this is not known.
    pub(super) async fn had_time(
        &self,
        world: &World,
        daemon: &Daemon,
    ) -> Result<Vec<(String, i64)>> {
        if self.vms.is_empty() {
            return Ok(Vec::new());
        }
        let now = clock(world, daemon).await?;
        let servers = world.plan.servers.iter();
        let servers: Vec<String> = servers.map(|server| server.name.clone()).collect();
        let of = |vm: &Vm| {
            let time = agents::had_time(vm, &servers, &self.nodes, now);
            (vm.hostname.clone(), time.unwrap_or(0))
        };
        Ok(self.vms.iter().map(of).collect())
    }
}

/// Those of the group's VMs that have no Node, had the time to join, and are certainly ours: the autoscaler numbers what it
/// makes, and a daemon that someone else set up may have VMs of theirs.
pub(super) async fn never_joined(
    world: &World,
    kubernetes: &Kubernetes,
    daemon: &Daemon,
) -> Result<BTreeSet<String>> {
    if daemon.adopted.is_some() {
        return Ok(BTreeSet::new());
    }
    let had = find(world, kubernetes, daemon)
        .await?
        .had_time(world, daemon)
        .await?;
    Ok(had
        .into_iter()
        .filter(|(name, time)| *time >= agents::ABANDONED && is_numbered(&daemon.group, name))
        .map(|(name, _)| name)
        .collect())
}

fn is_numbered(group: &str, vm: &str) -> bool {
    let number = vm
        .strip_prefix(group)
        .and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Deletes those of `doomed` that are still without a Node, for one may register between two looks.
pub(super) async fn delete(
    world: &World,
    kubernetes: &Kubernetes,
    hands: &Hands,
    daemon: &Daemon,
    doomed: &BTreeSet<String>,
) -> Result<()> {
    if doomed.is_empty() {
        return Ok(());
    }
    let still = find(world, kubernetes, daemon).await?.names();
    let slicer = world.slicer(daemon).await?;
    for vm in doomed.intersection(&still) {
        slicer.delete_vm(hands, &daemon.group, vm).await?;
    }
    recount(kubernetes, hands).await
}

/// Seconds since 1970 by the clock of the group's host, which says when its VMs were made.
async fn clock(world: &World, daemon: &Daemon) -> Result<i64> {
    let look = Look::SecondsSince("@0".to_owned());
    let output = world.host(&daemon.host)?.look(&look).await?;
    output.stdout.trim().parse().map_err(|_| {
        let what = format!("{} does not say what time it is", daemon.host);
        Failure::new(Code::Command, what).because(output.last_words())
    })
}
