//! VMs of a group that have no Node. The autoscaler does not see them: it counts a failed join from zero as "upcoming" for
//! ever, and what it could not delete while the group's API was silent runs on. They are deleted, and it is restarted. Only on
//! whole answers: what did not come is never taken for what is not there.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agents::{self, Now};
use crate::deletion::{self, DeletableVm};
use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::pipeline::WritePermit;
use crate::plan::Daemon;
use crate::steps::group::parts::local_data;
use crate::steps::group::parts::nodes::clock;
use crate::steps::group::parts::restart_autoscaler::restart_autoscaler;
use crate::vm::Vm;
use crate::world::World;

/// The VMs of a group without a Node, and all Nodes.
pub(crate) struct Orphans {
    pub(crate) vms: Vec<Vm>,
    /// How many VMs the group has, with a Node or without.
    pub(crate) of: usize,
    nodes: Vec<Value>,
}

/// The group's VMs that have no Node.
pub(crate) async fn find(
    world: &World,
    kubernetes: &Kubernetes,
    daemon: &Daemon,
) -> Result<Orphans> {
    let vms = world.slicer(daemon).await?.vms(&daemon.group).await?;
    // The Nodes second: a VM that joins between the two looks must not pass for one without.
    let nodes = kubernetes.list(&["nodes"]).await?;
    let left = agents::without_node(&daemon.group, &vms, &nodes);
    let (of, vms) = (vms.len(), left.into_iter().cloned().collect());
    Ok(Orphans { vms, of, nodes })
}

impl Orphans {
    /// One that was made so recently that it may still be joining.
    pub(crate) async fn joining(&self, world: &World, daemon: &Daemon) -> Result<Option<String>> {
        if self.vms.is_empty() {
            return Ok(None);
        }
        let now = clock(world.host(&daemon.host)?).await?;
        let young = self.vms.iter().find(|vm| agents::is_young(vm, now));
        Ok(young.map(|vm| vm.hostname.clone()))
    }

    /// How long in seconds each has had to join; 0 where this is not known.
    pub(crate) async fn had_time(
        &self,
        world: &World,
        daemon: &Daemon,
    ) -> Result<Vec<(String, i64)>> {
        if self.vms.is_empty() {
            return Ok(Vec::new());
        }
        let server = world.kubernetes().await?.server;
        let (host, servers) = tokio::try_join!(clock(world.host(&daemon.host)?), clock(&server))?;
        let now = Now { host, servers };
        let servers = world.plan.servers.iter();
        let servers: Vec<String> = servers.map(|server| server.name.clone()).collect();
        let of = |vm: &Vm| {
            let time = agents::had_time(vm, &servers, &self.nodes, now);
            (vm.hostname.clone(), time.unwrap_or(0))
        };
        Ok(self.vms.iter().map(of).collect())
    }
}

/// Those of the group's VMs that have no Node and may go for it, and of how many.
#[derive(Debug, Default)]
pub(crate) struct NeverJoined {
    pub(crate) names: BTreeSet<String>,
    pub(crate) of: usize,
}

/// Those of the group's VMs that have no Node and may go for it, by the rule of [`deletion`]; `enough`: the seconds that a VM needs
/// to join.
pub(crate) async fn never_joined(
    world: &World,
    kubernetes: &Kubernetes,
    daemon: &Daemon,
    enough: i64,
) -> Result<NeverJoined> {
    let orphans = find(world, kubernetes, daemon).await?;
    let had = orphans.had_time(world, daemon).await?.into_iter();
    let go = had.filter(|(vm, time)| deletion::may_go_without_node(daemon, vm, *time, enough));
    Ok(NeverJoined {
        names: go.map(|(vm, _)| vm).collect(),
        of: orphans.of,
    })
}

/// Deletes those of `confirmed` that are still without a Node, for one may register between two looks; their names. Refused where
/// claims have their data on one of them, unless that is allowed to go.
pub(crate) async fn delete(
    world: &World,
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    daemon: &Daemon,
    confirmed: &BTreeSet<String>,
    local_data: bool,
) -> Result<Vec<String>> {
    if confirmed.is_empty() {
        return Ok(Vec::new());
    }
    let still = find(world, kubernetes, daemon).await?;
    if !local_data {
        local_data::spare(kubernetes, &daemon.group, confirmed).await?;
    }
    let slicer = world.slicer(daemon).await?;
    let mut gone = Vec::new();
    for vm in DeletableVm::confirmed(&daemon.group, confirmed, &still.vms) {
        slicer.delete_vm(permit, &vm).await?;
        gone.push(vm.name().to_owned());
    }
    restart_autoscaler(kubernetes, permit).await?;
    Ok(gone)
}
