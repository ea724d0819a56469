//! No VM of a group holds an agent token that was replaced: an agent that has joined stays by its client certificate, whatever
//! the token is (k3s pkg/agent/config/config.go), and only without its VM and its Node it is locked out.

use async_trait::async_trait;

use super::{old_refused, worker_token};
use crate::failure::Result;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan};
use crate::steps::ordered::Ordered;
use crate::steps::recount::recount;
use crate::steps::{agents_drained, group_nodes, k3s_token_secret};
use crate::world::World;

struct AgentsReplaced {
    daemon: Daemon,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("agents-replaced", group)
}

/// The steps that drain and remove the agents of every group, one group after the other, once the old token is refused.
pub(super) fn steps(plan: &Plan) -> Vec<Box<dyn Step>> {
    let refused = plan.servers.iter();
    let mut before: Vec<StepId> = refused
        .map(|server| old_refused::id(&server.name))
        .collect();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    for daemon in plan.workers() {
        let mut needs = before.clone();
        needs.push(k3s_token_secret::id(&daemon.group));
        let drained = agents_drained::AgentsDrained::for_replacement(daemon);
        steps.push(Box::new(Ordered::new(drained, &needs)));
        let daemon = daemon.clone();
        before.push(id(&daemon.group));
        steps.push(Box::new(AgentsReplaced { daemon }));
    }
    steps
}

#[async_trait]
impl Step for AgentsReplaced {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!(
            "Remove the agents of {} that joined by the old token",
            self.daemon.group
        )
    }

    fn needs(&self) -> Vec<StepId> {
        vec![agents_drained::id(&self.daemon.group)]
    }

    fn hint(&self) -> String {
        format!("on {}: sudo slicer vm list; run again", self.daemon.host)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let outdated = worker_token::outdated(world, &self.daemon).await?;
        Ok(match outdated.first() {
            Some(vm) => Finding::differs(format!("{vm} joined by the old token")),
            None => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let slicer = world.slicer(&self.daemon).await?;
        let group = &self.daemon.group;
        let outdated = worker_token::outdated(world, &self.daemon).await?;
        let nodes = group_nodes::list(&kubernetes, group).await?;
        for vm in &outdated {
            slicer.delete_vm(hands, group, vm).await?;
            for node in nodes.iter().filter(|node| node.vm == *vm) {
                kubernetes.delete(hands, &["node", &node.name]).await?;
            }
        }
        if outdated.is_empty() {
            return Ok(());
        }
        recount(&kubernetes, hands).await
    }
}
