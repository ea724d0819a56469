//! A server's VM is there, at its planned address, with an agent that answers.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Server;
use crate::slicer::{Slicer, Vm};
use crate::world::World;

pub(super) struct VmUp {
    server: Server,
}

pub(super) fn id(server: &str) -> StepId {
    StepId::new("vm-up", server)
}

impl VmUp {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }

    async fn slicer(&self, world: &World) -> Result<Slicer> {
        let daemon = world.plan.daemon(&self.server.group).ok_or_else(|| {
            Failure::new(
                Code::Vm,
                format!("{} has no group in the plan", self.server.name),
            )
            .lasting()
        })?;
        world.slicer(daemon).await
    }

    async fn vm(&self, slicer: &Slicer) -> Result<Option<Vm>> {
        let vms = slicer.vms(&self.server.group).await?;
        Ok(vms.into_iter().find(|vm| vm.hostname == self.server.name))
    }
}

#[async_trait]
impl Step for VmUp {
    fn id(&self) -> StepId {
        id(&self.server.name)
    }

    fn title(&self) -> String {
        format!("Boot {}", self.server.name)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::daemon_answers::id(&self.server.group)]
    }

    fn patience(&self) -> Duration {
        // The first start pulls the image.
        Duration::from_mins(10)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(250)
    }

    fn hint(&self) -> String {
        format!(
            "on {}: sudo tail -n 40 /var/log/slicer/{}.txt",
            self.server.host, self.server.name
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let slicer = self.slicer(world).await?;
        let Some(vm) = self.vm(&slicer).await? else {
            return Ok(Finding::Unknown("Slicer does not list it yet".into()));
        };
        if vm.address() != self.server.address.to_string() {
            return Ok(Finding::differs(format!(
                "its address is {}, not {}",
                vm.address(),
                self.server.address
            )));
        }
        if !vm.runs() {
            let status = vm.status.as_deref().unwrap_or("unknown");
            return Ok(Finding::differs(format!("its status is {status}")));
        }
        let health = slicer.health(&self.server.name).await?;
        Ok(if health.agent_answers() {
            Finding::done()
        } else {
            Finding::Unknown("its agent does not answer yet".into())
        })
    }

    /// The daemon boots what its YAML counts when it starts. A VM that ended since then is ours to bring back: starting
    /// the daemon anew would reboot every server of the host.
    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let slicer = self.slicer(world).await?;
        match self.vm(&slicer).await? {
            Some(vm) if !vm.runs() => {
                slicer.wake(hands, &vm).await.map_err(|failure| {
                    failure.hint(format!(
                        "on {}: sudo systemctl restart slicer-{} boots it, and every other server of that host",
                        self.server.host, self.server.group
                    ))
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    /// Slicer starts what its YAML counts only when the daemon starts: without us a server that ended stays so.
    #[tokio::test]
    async fn a_server_that_ended_is_brought_back_and_one_that_runs_is_left_alone() {
        for (status, told) in [
            ("Stopped", Some("POST /vm/k3s-cp-1/relaunch")),
            ("Paused", Some("POST /vm/k3s-cp-1/resume")),
            ("Running", None),
        ] {
            let vms = format!(
                r#"[{{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"{status}"}}]"#
            );
            let host = Fake::new()
                .says("auth/token", "t0ken\n")
                .says("GET /hostgroup/k3s-cp/nodes", &vms)
                .says("GET /vm/k3s-cp-1/health", r#"{"agent_uptime":1}"#);
            let world = world(&[("n100", &host)]);
            let step = VmUp::new(&plan().servers[0]);
            let found = step.check(&world).await.unwrap();
            assert_eq!(
                matches!(found, Finding::Done(_)),
                told.is_none(),
                "{found:?}"
            );
            step.apply(&world, &hands()).await.unwrap();
            assert_eq!(host.was_told("POST /"), told.is_some());
            assert!(told.is_none_or(|line| host.was_told(line)));
        }
    }
}
