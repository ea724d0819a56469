//! Every Node of a group has its VM, every VM that had the time to join its Node, and a Node takes pods unless a person closed it. A Node that outlives its VM is a ghost: the
//! autoscaler counts it, and a new VM of the same name would be mistaken for it. A Node that a drain of ours closed and
//! that is still there was not removed after all. A VM without a Node is one that never joined, or that the autoscaler could
//! not delete while the group's API was silent: it deletes the Node all the same, and never asks again.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::group_nodes::{self, DRAINED, Node, selector};
use super::recount::recount;
use super::{api_ready, daemon_answers, daemon_current, node_ready, orphans};
use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan};
use crate::slicer::Vm;
use crate::world::World;

pub(super) struct AgentsSettled {
    daemon: Daemon,
    needs: Vec<StepId>,
    after: Vec<StepId>,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("agents-settled", group)
}

/// What is to be repaired.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unsettled {
    /// Nodes without a VM.
    ghosts: Vec<String>,
    /// Nodes that a drain of ours closed.
    closed: Vec<String>,
    /// VMs without a Node.
    strays: BTreeSet<String>,
}

impl AgentsSettled {
    pub(super) fn new(plan: &Plan, daemon: &Daemon) -> Self {
        let mut needs = vec![daemon_answers::id(&daemon.group)];
        needs.extend(api_ready::needed(plan));
        // Agents may have waited for a server that was down: since when each is Ready says how long they have had.
        // A cluster that is being founded has no agents that wait.
        let servers = plan.servers_here().filter(|_| plan.founded.is_some());
        let mut after: Vec<StepId> = servers.map(|server| node_ready::id(&server.name)).collect();
        after.push(daemon_current::id(daemon.carrier()));
        Self {
            daemon: daemon.clone(),
            needs,
            after,
        }
    }

    async fn unsettled(&self, world: &World, kubernetes: &Kubernetes) -> Result<Unsettled> {
        let group = &self.daemon.group;
        // The Nodes first: a VM that joins between the two looks must not pass for one that is gone.
        let nodes = group_nodes::list(kubernetes, group).await?;
        let vms = world.slicer(&self.daemon).await?.vms(group).await?;
        let mut unsettled = read(&nodes, &vms);
        if vms
            .iter()
            .any(|vm| !nodes.iter().any(|node| node.vm == vm.hostname))
        {
            unsettled.strays = orphans::never_joined(world, kubernetes, &self.daemon).await?;
        }
        Ok(unsettled)
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
            "Leave no Node of {} without VM or closed, and no VM without Node",
            self.daemon.group
        )
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn after(&self) -> Vec<StepId> {
        self.after.clone()
    }

    fn hint(&self) -> String {
        format!(
            "slicer-k3s kubectl get nodes -l {}, and on {}: sudo slicer vm list",
            selector(&self.daemon.group),
            self.daemon.host
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let unsettled = self.unsettled(world, &kubernetes).await?;
        let Unsettled {
            ghosts,
            closed,
            strays,
        } = &unsettled;
        Ok(match (ghosts.first(), strays.first(), closed.first()) {
            (Some(node), ..) => Finding::differs(format!("Node {node} has no VM")),
            (None, Some(vm), _) => Finding::differs(format!("VM {vm} has no Node")),
            (None, None, Some(node)) => {
                Finding::differs(format!("Node {node} was drained and is still there"))
            }
            (None, None, None) => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let unsettled = self.unsettled(world, &kubernetes).await?;
        for node in &unsettled.ghosts {
            kubernetes.delete(hands, &["node", node]).await?;
        }
        if !unsettled.ghosts.is_empty() && unsettled.strays.is_empty() {
            recount(&kubernetes, hands).await?;
        }
        orphans::delete(world, &kubernetes, hands, &self.daemon, &unsettled.strays).await?;
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
            .says(
                "/nodes",
                &format!(
                    r#"{{"kind":"List","metadata":{{}},"items":[{}]}}"#,
                    nodes.join(",")
                ),
            )
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

    const READY: &str = r#"{"metadata":{"name":"k3s-cp-1"},"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"1970-01-01T00:00:00Z"}]}}"#;

    /// What a look finds where a group has these VMs, all Nodes are these, and the time is 900 s.
    async fn strays(daemon: &Daemon, vms: &str, all: &str) -> (Result<Finding>, Fake) {
        let server = Fake::new()
            .says(
                "hostgroup%3Dk3s-agents-1",
                r#"{"kind":"List","metadata":{},"items":[]}"#,
            )
            .says("/nodes", all)
            .says("deployment", "{}");
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("date -d", "900\n")
            .says("GET /hostgroup/k3s-agents-1/nodes", vms)
            .says("DELETE /", "");
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let step = AgentsSettled::new(&plan(), daemon);
        let found = step.check(&world).await;
        // Whatever it found, a change keeps to the same rules.
        let _ = step.apply(&world, &hands()).await;
        (found, host)
    }

    fn of(name: &str, made: &str) -> String {
        format!(r#"[{{"hostname":"{name}","ip":"192.168.138.2","created_at":"{made}"}}]"#)
    }

    /// The autoscaler deleted its Node while the group's API was silent, and never came back to the VM.
    #[tokio::test]
    async fn a_vm_that_had_the_time_to_join_and_has_no_node_goes() {
        let old = of("k3s-agents-1-2", "1970-01-01T00:00:00Z");
        let all = format!(r#"{{"kind":"List","metadata":{{}},"items":[{READY}]}}"#);
        let (found, host) = strays(&plan().daemons[1], &old, &all).await;
        assert_eq!(
            found.unwrap(),
            Finding::differs("VM k3s-agents-1-2 has no Node")
        );
        assert!(host.was_told("DELETE /hostgroup/k3s-agents-1/nodes/k3s-agents-1-2"));
    }

    #[tokio::test]
    async fn a_vm_is_kept_where_anything_is_in_doubt() {
        let daemon = plan().daemons[1].clone();
        let adopted = Daemon {
            adopted: Some(crate::steps::testing::adopted(&daemon)),
            ..daemon.clone()
        };
        let old = of("k3s-agents-1-2", "1970-01-01T00:00:00Z");
        let all = format!(r#"{{"kind":"List","metadata":{{}},"items":[{READY}]}}"#);
        let unlabelled = format!(
            r#"{{"kind":"List","metadata":{{}},"items":[{READY},{{"metadata":{{"name":"k3s-agents-1-2-00ff00ff"}}}}]}}"#
        );
        let part = format!(r#"{{"kind":"List","metadata":{{"continue":"x"}},"items":[{READY}]}}"#);
        let back = all.replace("00:00:00Z", "00:14:00Z");
        let unknown = old.replace(r#","created_at":"1970-01-01T00:00:00Z""#, "");
        for (why, daemon, vms, all) in [
            (
                "it is joining",
                &daemon,
                &of("k3s-agents-1-2", "1970-01-01T00:11:00Z"),
                &all,
            ),
            ("no one knows its age", &daemon, &unknown, &all),
            ("its Node lost its labels", &daemon, &old, &unlabelled),
            ("the list goes on", &daemon, &old, &part),
            ("no list came", &daemon, &old, &String::new()),
            ("a server has just come back", &daemon, &old, &back),
            (
                "no server is Ready",
                &daemon,
                &old,
                &all.replace("True", "False"),
            ),
            (
                "no Node is listed",
                &daemon,
                &old,
                &r#"{"kind":"List","metadata":{},"items":[]}"#.to_owned(),
            ),
            (
                "someone else named it",
                &daemon,
                &of("mine", "1970-01-01T00:00:00Z"),
                &all,
            ),
            ("someone else set the daemon up", &adopted, &old, &all),
        ] {
            let (found, host) = strays(daemon, vms, all).await;
            assert!(!matches!(found, Ok(Finding::Differs(_))), "{why}");
            assert!(!host.was_told("DELETE"), "{why}");
        }
    }
}
