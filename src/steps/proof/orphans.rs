//! VMs of a proof that have no Node. The autoscaler does not see them, and counts a failed join from zero as "upcoming"
//! for ever: they are deleted, and it is started anew.

use std::collections::BTreeSet;

use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::pipeline::Hands;
use crate::plan::Daemon;
use crate::steps::group_nodes;
use crate::steps::recount::recount;
use crate::world::World;

/// The group's VMs that were not there `before` and have no Node.
pub(super) async fn find(
    world: &World,
    kubernetes: &Kubernetes,
    daemon: &Daemon,
    before: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let nodes = group_nodes::list(kubernetes, &daemon.group).await?;
    let mut vms = super::vms(world, daemon).await?;
    vms.retain(|vm| !before.contains(vm) && !nodes.iter().any(|node| node.vm == *vm));
    Ok(vms)
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
    let still = find(world, kubernetes, daemon, &BTreeSet::new()).await?;
    let slicer = world.slicer(daemon).await?;
    for vm in doomed.intersection(&still) {
        slicer.delete_vm(hands, &daemon.group, vm).await?;
    }
    recount(kubernetes, hands).await
}
