//! No VM of a group may have joined by an agent token that was replaced: an agent that has joined stays by its client
//! certificate, whatever the token is (k3s pkg/agent/config/config.go), and only without its VM and its Node it is locked out.

use async_trait::async_trait;

use super::old_refused;
use crate::deletion::DeletableVm;
use crate::failure::Result;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan};
use crate::slicer::Vm;
use crate::steps::ordered::Ordered;
use crate::steps::{Options, agents_drained, agents_settled, k3s_token_secret};
use crate::time;
use crate::world::World;

struct AgentsReplaced {
    daemon: Daemon,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("agents-replaced", group)
}

/// The steps that drain and remove the agents of every group, one group after the other, once the old token is refused.
pub(super) fn steps(plan: &Plan, options: &Options) -> Vec<Box<dyn Step>> {
    let refused = plan.servers.iter();
    let mut before: Vec<StepId> = refused
        .map(|server| old_refused::id(&server.name))
        .collect();
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    for daemon in plan.workers() {
        let mut needs = before.clone();
        needs.push(k3s_token_secret::id(&daemon.group));
        let drained = agents_drained::AgentsDrained::for_replacement(daemon, options);
        steps.push(Box::new(Ordered::new(drained, &needs)));
        // Whoever asked for other agents asked for the end of these.
        let settled = agents_settled::AgentsSettled::new(plan, daemon, options).named();
        steps.push(Box::new(Ordered::new(settled, &[id(&daemon.group)])));
        before.push(agents_settled::id(&daemon.group));
        let daemon = daemon.clone();
        steps.push(Box::new(AgentsReplaced { daemon }));
    }
    steps
}

/// The VMs of a group that were made before its daemon had the new token, by their host's clock: what they hold now says
/// nothing, for a run that did not replace them gave them the new one.
pub(in crate::steps) async fn outdated(world: &World, daemon: &Daemon) -> Result<Vec<String>> {
    let slicer = world.slicer(daemon).await?;
    let armed = k3s_token_secret::written(&slicer).await?;
    let vms = slicer.vms(&daemon.group).await?;
    let before = vms.iter().filter(|vm| is_of_before(vm, armed));
    Ok(before.map(|vm| vm.hostname.clone()).collect())
}

/// Whether a VM may have been made before this second; so may one that does not tell.
fn is_of_before(vm: &Vm, armed: Option<i64>) -> bool {
    let made = vm.created_at.as_deref().and_then(time::unix);
    made.zip(armed).is_none_or(|(made, armed)| made <= armed)
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
        let outdated = outdated(world, &self.daemon).await?;
        Ok(match outdated.first() {
            Some(vm) => Finding::differs(format!("{vm} joined by the old token")),
            None => Finding::done(),
        })
    }

    /// Their Nodes go with the next step, as those of other VMs that are gone.
    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let slicer = world.slicer(&self.daemon).await?;
        let outdated = outdated(world, &self.daemon).await?;
        for vm in DeletableVm::named(&self.daemon.group, &outdated) {
            slicer.delete_vm(hands, &vm).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    /// After a plain run each of them holds the new token, and none has joined by it.
    #[tokio::test]
    async fn agents_from_before_go_whatever_they_hold() {
        let hash = "x\nx\nactive\n";
        let held = serde_json::json!({"stdout": hash, "exit_code": 0}).to_string();
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("/exec", &held)
            .says(
                "GET /secrets",
                r#"[{"name":"k3s-token","mod_time":"2026-05-01T12:00:00.5+02:00"}]"#,
            )
            .says(
                "GET /hostgroup/k3s-agents-1/nodes",
                r#"[{"hostname":"a-1","created_at":"2026-05-01T09:59:59Z"},{"hostname":"a-2","created_at":"2026-05-01T10:00:01Z"},
                    {"hostname":"a-3"},{"hostname":"a-4","created_at":"2026-05-01T10:00:00.9Z"}]"#,
            );
        let world = world(&[("ryzen", &host)]);
        let daemon = plan().daemons[1].clone();
        let step = AgentsReplaced { daemon };
        step.apply(&world, &hands()).await.unwrap();
        for (vm, goes) in [("a-1", true), ("a-2", false), ("a-3", true), ("a-4", true)] {
            let told = host.was_told(&format!("DELETE /hostgroup/k3s-agents-1/nodes/{vm}"));
            assert_eq!(told, goes, "{vm}");
        }
    }
}
