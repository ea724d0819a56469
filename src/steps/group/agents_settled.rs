//! Every Node of a group has its VM, every VM that had the time to join its Node, and a Node takes pods unless a person closed it.
//! A Node that outlives its VM is a ghost: the autoscaler counts it, and a new VM of the same name would be mistaken for it. A Node
//! that a drain of ours closed and that is still there was not removed after all. A VM without a Node is one that never joined, or
//! that the autoscaler could not delete while the group's API was silent: it deletes the Node all the same, and never asks again.
//! What is deleted, and in how many passes, is decided by the rules of [`crate::deletion`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::deletion::{self, DeletableObject, GroupNode, Sightings};
use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::{ABANDONED, JOIN};
use crate::names::ours::DRAINED;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan};
use crate::step_id::{StepId, StepName};
use crate::steps::Options;
use crate::steps::group::nodes_drained::end_drains;
use crate::steps::group::parts::nodes::selector;
use crate::steps::group::parts::restart_autoscaler::restart_autoscaler;
use crate::steps::group::parts::{nodes, orphans};
use crate::steps::server::api_ready;
use crate::world::World;

pub(crate) struct AgentsSettled {
    daemon: Daemon,
    needs: Vec<StepId>,
    after: Vec<StepId>,
    /// A person named the host or asked for other agents: what is seen once may go.
    named: bool,
    /// Data on the disks of VMs may go with them.
    local_data: bool,
    seen: Mutex<Seen>,
}

/// What would go, list after list.
#[derive(Default)]
struct Seen {
    nodes: Sightings,
    vms: Sightings,
}

/// What is to be repaired, by lists of one moment.
#[derive(Debug, Default)]
struct Unsettled {
    nodes: Vec<GroupNode>,
    /// Nodes without a VM that may go.
    stale_nodes: BTreeSet<String>,
    /// A Node without a VM that is too young for it.
    young: Option<String>,
    /// Nodes that a drain of ours closed.
    closed: Vec<String>,
    /// VMs without a Node that may go.
    strays: BTreeSet<String>,
    /// How many VMs the group has.
    vms: usize,
    /// Slicer's list was `null`: it may be empty, or no list.
    null: bool,
}

/// What goes now.
struct Now {
    stale_nodes: BTreeSet<String>,
    strays: BTreeSet<String>,
}

impl AgentsSettled {
    pub(crate) fn new(plan: &Plan, daemon: &Daemon, options: &Options) -> Self {
        let mut needs = vec![StepName::DaemonAnswers.on(&daemon.group)];
        needs.extend(api_ready::needed(plan));
        // Agents may have waited for a server that was down: since when each is Ready says how long they have had.
        // A cluster that is being founded has no agents that wait.
        let servers = plan.servers_here().filter(|_| plan.founded.is_some());
        let mut after: Vec<StepId> = servers
            .map(|server| StepName::NodeReady.on(&server.name))
            .collect();
        after.push(StepName::DaemonCurrent.on(daemon.carrier()));
        Self {
            daemon: daemon.clone(),
            needs,
            after,
            named: false,
            local_data: options.delete_local_data,
            seen: Mutex::default(),
        }
    }

    /// The same where a person named the host on the command line, or asked for other agents.
    pub(crate) fn named(self) -> Self {
        Self {
            named: true,
            ..self
        }
    }

    async fn unsettled(&self, world: &World, kubernetes: &Kubernetes) -> Result<Unsettled> {
        let group = &self.daemon.group;
        // The Nodes first: a VM that joins between the two looks must not pass for one that is gone.
        let nodes = nodes::list(kubernetes, group).await?;
        let vms = world.slicer(&self.daemon).await?.vms_or_null(group).await?;
        let null = vms.is_none();
        let vms = vms.unwrap_or_default();
        let mut unsettled = Unsettled {
            null,
            vms: vms.len(),
            ..Unsettled::default()
        };
        let mut stale_nodes = nodes.iter().filter(|node| node.is_ghost(&nodes, &vms));
        if self.named {
            unsettled.stale_nodes = stale_nodes.map(|node| node.name.clone()).collect();
        } else if stale_nodes.next().is_some() {
            let now = nodes::clock(&kubernetes.server).await?;
            unsettled.stale_nodes = deletion::stale_nodes(&nodes, &vms, now);
            let mut young = nodes
                .iter()
                .filter(|node| node.is_ghost(&nodes, &vms) && !node.is_old(now));
            unsettled.young = young.next().map(|node| node.name.clone());
        }
        let closed = nodes
            .iter()
            .filter(|node| node.drained && !node.vm.is_empty() && !node.is_ghost(&nodes, &vms));
        unsettled.closed = closed.map(|node| node.name.clone()).collect();
        if vms
            .iter()
            .any(|vm| !nodes.iter().any(|node| node.vm == vm.hostname))
        {
            let found = orphans::never_joined(world, kubernetes, &self.daemon, ABANDONED).await?;
            unsettled.strays = found.names;
        }
        unsettled.nodes = nodes;
        Ok(unsettled)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the lists of this moment, and says what they confirm.
    fn confirmed(&self, unsettled: &Unsettled) -> Now {
        // What may be no list confirms nothing by itself, not even for a person who named the host.
        if self.named && !unsettled.null {
            return Now {
                stale_nodes: unsettled.stale_nodes.clone(),
                strays: unsettled.strays.clone(),
            };
        }
        let now = Instant::now();
        let mut seen = self.seen();
        seen.nodes.see(now, &unsettled.stale_nodes);
        seen.vms.see(now, &unsettled.strays);
        Now {
            stale_nodes: seen.nodes.confirmed(now, unsettled.nodes.len()),
            strays: seen.vms.confirmed(now, unsettled.vms),
        }
    }

    /// Why what was seen only now does not go yet.
    fn waits(&self, unsettled: &Unsettled) -> Option<String> {
        let now = Instant::now();
        let seen = self.seen();
        let (ghost, stray) = (unsettled.stale_nodes.first(), unsettled.strays.first());
        let (what, wait) = match (ghost, stray) {
            (Some(node), _) => (format!("Node {node} has no VM"), seen.nodes.wait(now)),
            (None, Some(vm)) => (format!("VM {vm} has no Node"), seen.vms.wait(now)),
            (None, None) => {
                let node = unsettled.young.as_ref()?;
                return Some(format!(
                    "Node {node} has no VM; it goes once it is {JOIN} s old"
                ));
            }
        };
        let wait = wait.unwrap_or_default().as_secs_f64().ceil();
        Some(format!(
            "{what}; it goes if a list in {wait:.0} s says so, too"
        ))
    }
}

#[async_trait]
impl Step<World> for AgentsSettled {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::AgentsSettled.on(&self.daemon.group),
            format!(
                "Leave no Node of {} without VM or closed, and no VM without Node",
                self.daemon.group
            ),
            format!(
                "slicer-k3s kubectl get nodes -l {}, and on {}: sudo slicer vm list",
                selector(&self.daemon.group),
                self.daemon.host
            ),
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        // A young Node gets as old as it must be, and half a group goes every ten seconds.
        .timeout(Duration::from_secs(JOIN.unsigned_abs()) + Duration::from_mins(2))
        .poll_interval(Duration::from_secs(2))
        .reapply()
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let unsettled = self.unsettled(world, &kubernetes).await?;
        let now = self.confirmed(&unsettled);
        let closed = unsettled.closed.first();
        Ok(
            match (now.stale_nodes.first(), now.strays.first(), closed) {
                (Some(node), ..) => Finding::differs(format!("Node {node} has no VM")),
                (None, Some(vm), _) => Finding::differs(format!("VM {vm} has no Node")),
                (None, None, Some(node)) => {
                    Finding::differs(format!("Node {node} was drained and is still there"))
                }
                (None, None, None) => match self.waits(&unsettled) {
                    Some(why) => Finding::Unknown(why),
                    None => Finding::done(),
                },
            },
        )
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let unsettled = self.unsettled(world, &kubernetes).await?;
        let now = self.confirmed(&unsettled);
        // First: what is refused below stays so until a person decides.
        if !unsettled.closed.is_empty() {
            // What a run that was killed left draining would close them again.
            end_drains(world, &kubernetes.server, permit, &self.daemon.group).await?;
        }
        for node in &unsettled.closed {
            kubernetes.uncordon(permit, node, DRAINED).await?;
        }
        for node in DeletableObject::confirmed_nodes(&now.stale_nodes, &unsettled.nodes) {
            kubernetes.delete(permit, &node).await?;
        }
        let (daemon, local_data) = (&self.daemon, self.local_data);
        let strays = &now.strays;
        let gone = orphans::delete(world, &kubernetes, permit, daemon, strays, local_data).await;
        // Who deletes VMs has it counted, too.
        if !now.stale_nodes.is_empty() && (now.strays.is_empty() || gone.is_err()) {
            restart_autoscaler(&kubernetes, permit).await?;
        }
        if !(now.stale_nodes.is_empty() && now.strays.is_empty()) {
            let mut seen = self.seen();
            let now = Instant::now();
            seen.nodes.next_pass(now);
            seen.vms.next_pass(now);
        }
        gone.map(drop)
    }
}

#[cfg(test)]
mod tests;
