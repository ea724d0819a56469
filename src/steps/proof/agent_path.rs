//! Every server reaches the new agent's kubelet in its VM: without that way metrics of its pods fail, and pods of two hosts do
//! not reach each other, though the Node is Ready. (logs and exec go through a tunnel that the agent opens to the servers:
//! k3s@af977adf pkg/agent/tunnel/tunnel.go.)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ProofRun;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::step_id::{StepId, StepName};
use crate::steps::support::connectivity;
use crate::world::World;

/// Where a kubelet listens.
const KUBELET: u16 = 10250;

pub(crate) struct AgentPath {
    trial: Arc<ProofRun>,
    needs: Vec<StepId>,
}

impl AgentPath {
    /// `servers`: the steps after which every server can be asked.
    pub(crate) fn new(trial: &Arc<ProofRun>, servers: Vec<StepId>) -> Self {
        let mut needs = servers;
        needs.push(trial.id(StepName::ScaleUp));
        Self {
            trial: Arc::clone(trial),
            needs,
        }
    }
}

#[async_trait]
impl Step<World> for AgentPath {
    fn meta(&self) -> Meta {
        Meta::new(
            self.trial.id(StepName::AgentPath),
            format!(
                "Reach the VMs of {} from the servers",
                self.trial.daemon.group
            ),
            format!(
                "routes and firewalls of {} and the servers' hosts; then: slicer-k3s prove {}",
                self.trial.daemon.host, self.trial.daemon.group
            ),
        )
        .needs(self.needs.clone())
        .timeout(Duration::from_secs(20))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        if self.trial.stands(&world.kubernetes().await?).await? {
            return Ok(Finding::Done("proven before".into()));
        }
        let used = self.trial.progress().nodes.clone();
        if used.is_empty() {
            return Ok(Finding::differs("it was not proven yet"));
        }
        let daemon = &self.trial.daemon;
        let vms = world.slicer(daemon).await?.vms(&daemon.group).await?;
        for vm in vms
            .iter()
            .filter(|vm| used.iter().any(|(_, name)| *name == vm.hostname))
        {
            let Ok(address) = vm.address().parse() else {
                return Ok(Finding::Unknown(format!(
                    "{} has no address yet",
                    vm.hostname
                )));
            };
            for server in world.plan.servers_here() {
                if !connectivity::open(world, server, address, KUBELET).await? {
                    let what =
                        format!("{} does not reach {} ({address})", server.name, vm.hostname);
                    let why = connectivity::broken(world, server, address, &daemon.host).await;
                    return Err(Failure::new(Code::Route, what).because(why));
                }
            }
        }
        Ok(Finding::done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    #[tokio::test]
    async fn one_server_without_a_way_to_the_new_vm_is_named() {
        let host = Fake::new()
            .says("auth/token", "secret")
            .says("GET /", r#"[{"hostname":"a-1","ip":"192.168.138.2/24"}]"#);
        let (good, bad) = (Fake::new(), Fake::new().answers("/dev/tcp", 124, ""));
        let trial = super::super::trial(true);
        trial.progress().nodes = vec![("a-1-ff".into(), "a-1".into())];
        let step = AgentPath::new(&trial, Vec::new());
        let of = |third| {
            world(&[
                ("ryzen", &host),
                ("k3s-cp-1", &good),
                ("k3s-cp-2", &good),
                ("k3s-cp-3", third),
            ])
        };
        assert_eq!(
            step.check(&of(&good), Phase::Before).await.unwrap(),
            Finding::done()
        );
        let failure = step
            .check(&of(&bad), Phase::Before)
            .await
            .unwrap_err()
            .to_string();
        assert!(failure.contains("k3s-cp-3 does not reach a-1"), "{failure}");
    }
}
