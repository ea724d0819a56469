//! Every Node of a group has its VM, and takes pods unless a person closed it. A Node that outlives its VM is a ghost: the
//! autoscaler counts it, and a new VM of the same name would be mistaken for it. A Node that a drain of ours closed and
//! that is still there was not removed after all.

use async_trait::async_trait;

use super::group_nodes::{self, DRAINED, Node, selector};
use super::recount::recount;
use super::{daemon_answers, daemon_current, k3s_started};
use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan};
use crate::slicer::Vm;
use crate::world::World;

pub(super) struct AgentsSettled {
    daemon: Daemon,
    needs: Vec<StepId>,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("agents-settled", group)
}

/// What is to be mended, by Node name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unsettled {
    ghosts: Vec<String>,
    closed: Vec<String>,
}

impl AgentsSettled {
    pub(super) fn new(plan: &Plan, daemon: &Daemon) -> Self {
        let mut needs = vec![daemon_answers::id(&daemon.group)];
        needs.extend(k3s_started::first_api(plan));
        Self {
            daemon: daemon.clone(),
            needs,
        }
    }

    async fn unsettled(&self, world: &World, kubernetes: &Kubernetes) -> Result<Unsettled> {
        let group = &self.daemon.group;
        // The Nodes first: a VM that joins between the two looks must not pass for one that is gone.
        let nodes = group_nodes::list(kubernetes, group).await?;
        if nodes.is_empty() {
            return Ok(Unsettled::default());
        }
        let vms = world.slicer(&self.daemon).await?.vms(group).await?;
        Ok(read(&nodes, &vms))
    }
}

fn read(nodes: &[Node], vms: &[Vm]) -> Unsettled {
    let mut unsettled = Unsettled::default();
    for node in nodes.iter().filter(|node| !node.vm.is_empty()) {
        // A new VM may have got the name of one that went: its Node is the one that is Ready.
        let replaced = !node.ready && nodes.iter().any(|other| other.vm == node.vm && other.ready);
        if replaced || !vms.iter().any(|vm| vm.hostname == node.vm) {
            unsettled.ghosts.push(node.name.clone());
        } else if node.drained {
            unsettled.closed.push(node.name.clone());
        }
    }
    unsettled
}

#[async_trait]
impl Step for AgentsSettled {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!(
            "Leave no Node of {} without VM or closed",
            self.daemon.group
        )
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn after(&self) -> Vec<StepId> {
        vec![daemon_current::id(self.daemon.carrier())]
    }

    fn hint(&self) -> String {
        let selector = selector(&self.daemon.group);
        format!("slicer-k3s kubectl get nodes -l {selector}")
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let Unsettled { ghosts, closed } = self.unsettled(world, &kubernetes).await?;
        Ok(match (ghosts.first(), closed.first()) {
            (Some(node), _) => Finding::differs(format!("Node {node} has no VM")),
            (None, Some(node)) => {
                Finding::differs(format!("Node {node} was drained and is still there"))
            }
            (None, None) => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let unsettled = self.unsettled(world, &kubernetes).await?;
        for node in &unsettled.ghosts {
            kubernetes.delete(hands, &["node", node]).await?;
        }
        if !unsettled.ghosts.is_empty() {
            recount(&kubernetes, hands).await?;
        }
        for node in &unsettled.closed {
            kubernetes.reopen(hands, node, DRAINED).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    fn node(name: &str, vm: &str, ready: &str, more: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"{name}","labels":{{"slicer/hostname":"{vm}"{more}}}}},"status":{{"conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
        )
    }

    /// A person's cordon stays; so does a Node whose VM is only not Ready.
    #[tokio::test]
    async fn ghosts_go_and_what_our_drain_closed_is_opened() {
        let drained = format!(r#","{DRAINED}":"true""#);
        let nodes = [
            node("works", "a-1", "True", ""),
            node("tired", "a-2", "Unknown", ""),
            node("ghost", "a-9", "Unknown", ""),
            node("before", "a-1", "Unknown", ""),
            node("closed", "a-3", "True", &drained),
        ];
        let server = Fake::new()
            .says("/nodes", &format!(r#"{{"items":[{}]}}"#, nodes.join(",")))
            .says("deployment", "{}");
        let host = Fake::new().says("auth/token", "t0ken\n").says(
            "GET /hostgroup/k3s-agents-1/nodes",
            r#"[{"hostname":"a-1"},{"hostname":"a-2"},{"hostname":"a-3"}]"#,
        );
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let plan = plan();
        let step = AgentsSettled::new(&plan, &plan.daemons[1]);
        let found = step.check(&world).await.unwrap();
        assert_eq!(found, Finding::differs("Node ghost has no VM"));
        step.apply(&world, &hands()).await.unwrap();
        for gone in ["ghost", "before"] {
            assert!(
                server.was_told(&format!("--wait=false node {gone}")),
                "{gone}"
            );
        }
        assert!(server.was_told("uncordon closed"));
        // It would wait for the ghosts to come for ever.
        assert!(server.was_told("rollout restart"));
        for kept in ["works", "tired"] {
            assert!(!server.was_told(&format!("node {kept}")), "{kept}");
        }
    }
}
