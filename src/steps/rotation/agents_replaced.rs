//! No VM of a group holds an agent token that was replaced: an agent that has joined stays by its client certificate, whatever
//! the token is (k3s pkg/agent/config/config.go), and only without its VM and its Node it is locked out.

use async_trait::async_trait;

use super::{old_refused, worker_token};
use crate::failure::Result;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan};
use crate::steps::ordered::Ordered;
use crate::steps::{agents_drained, agents_settled, k3s_token_secret};
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
        let settled = agents_settled::AgentsSettled::new(plan, daemon);
        steps.push(Box::new(Ordered::new(settled, &[id(&daemon.group)])));
        before.push(agents_settled::id(&daemon.group));
        let daemon = daemon.clone();
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

    /// Their Nodes go with the next step, as those of other VMs that are gone.
    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let slicer = world.slicer(&self.daemon).await?;
        for vm in worker_token::outdated(world, &self.daemon).await? {
            slicer.delete_vm(hands, &self.daemon.group, &vm).await?;
        }
        Ok(())
    }
}
