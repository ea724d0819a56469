//! A server's VM is there, at its planned address, with an agent that answers.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Server;
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
        let daemon = world.plan.daemon(&self.server.group).ok_or_else(|| {
            Failure::new(
                Code::Vm,
                format!("{} has no group in the plan", self.server.name),
            )
            .lasting()
        })?;
        let slicer = world.slicer(daemon).await?;
        let vms = slicer.vms(&self.server.group).await?;
        let Some(vm) = vms.iter().find(|vm| vm.hostname == self.server.name) else {
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

    /// The daemon boots what its YAML counts.
    async fn apply(&self, _: &World, _: &Hands) -> Result<()> {
        Ok(())
    }
}
