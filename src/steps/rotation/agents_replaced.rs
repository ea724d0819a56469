//! No VM of a group may have joined by an agent token that was replaced: an agent that has joined stays by its client
//! certificate, whatever the token is (k3s pkg/agent/config/config.go), and only without its VM and its Node it is locked out.

use async_trait::async_trait;

use crate::deletion::DeletableVm;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan};
use crate::step_id::{StepId, StepName};
use crate::steps::group::{agents_drained, agents_settled, k3s_token_secret};
use crate::steps::support::ordered::Ordered;
use crate::steps::{AnyStep, Options};
use crate::time;
use crate::vm::Vm;
use crate::world::World;

struct AgentsReplaced {
    daemon: Daemon,
}

/// The steps that drain and remove the agents of every group, one group after the other, once the old token is refused.
pub(crate) fn steps(plan: &Plan, options: &Options) -> Vec<AnyStep> {
    let refused = plan.servers.iter();
    let mut before: Vec<StepId> = refused
        .map(|server| StepName::OldTokenRefused.on(&server.name))
        .collect();
    let mut steps: Vec<AnyStep> = Vec::new();
    for daemon in plan.workers() {
        let mut needs = before.clone();
        needs.push(StepName::K3sTokenSecret.on(&daemon.group));
        let drained = agents_drained::AgentsDrained::for_replacement(daemon, options);
        steps.push(Box::new(Ordered::new(drained, &needs)));
        // Whoever asked for other agents asked for the end of these.
        let settled = agents_settled::AgentsSettled::new(plan, daemon, options).named();
        steps.push(Box::new(Ordered::new(
            settled,
            &[StepName::AgentsReplaced.on(&daemon.group)],
        )));
        before.push(StepName::AgentsSettled.on(&daemon.group));
        let daemon = daemon.clone();
        steps.push(Box::new(AgentsReplaced { daemon }));
    }
    steps
}

/// The agents of a group that were made before its daemon had the new token, by their host's clock: what they hold now says
/// nothing, for a run that did not replace them gave them the new one. Which VMs are agents is for [`crate::deletion`] to say.
///
/// # Errors
///
/// Where a list does not come, or the daemon does not say since when it has the new token: then nobody knows which they are.
pub(crate) async fn outdated(world: &World, daemon: &Daemon) -> Result<Vec<DeletableVm>> {
    let slicer = world.slicer(daemon).await?;
    let vms = slicer.vms(&daemon.group).await?;
    let nodes = if daemon.adopted.is_some() && !vms.is_empty() {
        world.kubernetes().await?.list(&["nodes"]).await?
    } else {
        Vec::new()
    };
    let agents = vms.iter().filter_map(|vm| {
        let agent = DeletableVm::agent(daemon, vm, &nodes)?;
        Some((vm, agent))
    });
    let agents: Vec<(&Vm, DeletableVm)> = agents.collect();
    if agents.is_empty() {
        return Ok(Vec::new());
    }
    let armed = k3s_token_secret::written(&slicer).await?;
    let armed = armed.ok_or_else(|| untold(daemon))?;
    let before = agents.into_iter().filter(|(vm, _)| is_of_before(vm, armed));
    Ok(before.map(|(_, agent)| agent).collect())
}

/// Nothing tells old agents from new ones.
fn untold(daemon: &Daemon) -> Failure {
    let (group, host) = (&daemon.group, &daemon.host);
    Failure::new(
        Code::SlicerApi,
        format!("which agents of {group} joined by the old token is not known"),
    )
    .because(format!(
        "the daemon on {host} does not say since when it has the new one"
    ))
    .hint(format!(
        "on {host}: sudo slicer vm list shows them; delete those from before the rotation with sudo slicer vm delete"
    ))
    .permanent()
}

/// Whether a VM may have been made before this second; so may one that does not tell.
fn is_of_before(vm: &Vm, armed: i64) -> bool {
    let made = vm.created_at.as_deref().and_then(time::unix);
    made.is_none_or(|made| made <= armed)
}

#[async_trait]
impl Step<World> for AgentsReplaced {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::AgentsReplaced.on(&self.daemon.group),
            format!(
                "Remove the agents of {} that joined by the old token",
                self.daemon.group
            ),
            format!("on {}: sudo slicer vm list; run again", self.daemon.host),
        )
        .needs([StepName::AgentsDrained.on(&self.daemon.group)])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let outdated = outdated(world, &self.daemon).await?;
        if outdated.is_empty() {
            return Ok(Finding::done());
        }
        let names: Vec<&str> = outdated.iter().map(DeletableVm::name).collect();
        let names = names.join(", ");
        Ok(Finding::differs(format!("{names} joined by the old token")))
    }

    /// Their Nodes go with the next step, as those of other VMs that are gone.
    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let slicer = world.slicer(&self.daemon).await?;
        let outdated = outdated(world, &self.daemon).await?;
        for vm in &outdated {
            slicer.delete_vm(permit, vm).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, adopted, permit, plan, world};

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
                r#"[{"hostname":"k3s-agents-1-1","created_at":"2026-05-01T09:59:59Z"},
                    {"hostname":"k3s-agents-1-2","created_at":"2026-05-01T10:00:01Z"},{"hostname":"k3s-agents-1-3"},
                    {"hostname":"k3s-agents-1-4","created_at":"2026-05-01T10:00:00.9Z"},{"hostname":"mine"}]"#,
            );
        let world = world(&[("ryzen", &host)]);
        let daemon = plan().daemons[1].clone();
        let step = AgentsReplaced { daemon };
        let found = step.check(&world, Phase::Before).await.unwrap();
        let named = "k3s-agents-1-1, k3s-agents-1-3, k3s-agents-1-4 joined by the old token";
        assert_eq!(found, Finding::differs(named));
        step.apply(&world, &permit()).await.unwrap();
        let goes = |vm: &str| host.was_told(&format!("DELETE /hostgroup/k3s-agents-1/nodes/{vm}"));
        let gone = [1, 2, 3, 4].map(|n| goes(&format!("k3s-agents-1-{n}")));
        assert_eq!(gone, [true, false, true, true]);
        assert!(!goes("mine"));
    }

    /// A person's own VM in a group that was handed over is no agent, however old it is.
    #[tokio::test]
    async fn in_an_adopted_group_only_what_has_a_node_goes() {
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says(
                "GET /secrets",
                r#"[{"name":"k3s-token","mod_time":"2026-05-01T10:00:00Z"}]"#,
            )
            .says(
                "GET /hostgroup/k3s-agents-1/nodes",
                r#"[{"hostname":"k3s-agents-1-1"},{"hostname":"k3s-agents-1-2"}]"#,
            );
        let server = Fake::new().says(
            "/nodes",
            r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"k3s-agents-1-2-00ff00ff"}}]}"#,
        );
        let world = world(&[("ryzen", &host), ("k3s-cp-1", &server)]);
        let mut daemon = plan().daemons[1].clone();
        daemon.adopted = Some(adopted(&daemon));
        let step = AgentsReplaced { daemon };
        step.apply(&world, &permit()).await.unwrap();
        assert!(host.was_told("DELETE /hostgroup/k3s-agents-1/nodes/k3s-agents-1-2"));
        assert!(!host.was_told("DELETE /hostgroup/k3s-agents-1/nodes/k3s-agents-1-1"));
    }

    /// A daemon that gave no time for its secret made every VM one of before, in each run again.
    #[tokio::test]
    async fn without_the_moment_of_the_new_token_nothing_goes() {
        for secrets in ["[]", r#"[{"name":"k3s-token"}]"#] {
            for (vms, known) in [(r#"[{"hostname":"k3s-agents-1-1"}]"#, false), ("[]", true)] {
                let host = Fake::new()
                    .says("auth/token", "t0ken\n")
                    .says("GET /secrets", secrets)
                    .says("GET /hostgroup/k3s-agents-1/nodes", vms);
                let world = world(&[("ryzen", &host)]);
                let daemon = plan().daemons[1].clone();
                let step = AgentsReplaced { daemon };
                let applied = step.apply(&world, &permit()).await;
                assert_eq!(applied.is_ok(), known, "{secrets} {vms}");
                let permanent = applied.err().is_some_and(|failure| failure.is_permanent());
                assert_eq!(permanent, !known);
                assert!(!host.was_told("DELETE"));
            }
        }
    }
}
