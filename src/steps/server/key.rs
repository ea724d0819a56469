//! A server lets the cluster's key in. Its first boot sees to that, unless the key was lost and made anew by an import.

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::slicer::Slicer;
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct ServerKey {
    server: Server,
}

impl ServerKey {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }

    async fn slicer(&self, world: &World) -> Result<Slicer> {
        let daemon = world.plan.daemon(&self.server.group).ok_or_else(|| {
            Failure::new(Code::Vm, format!("{} has no group", self.server.name)).permanent()
        })?;
        world.slicer(daemon).await
    }
}

#[async_trait]
impl Step<World> for ServerKey {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ServerKey.on(&self.server.name),
            format!("Let the cluster's key into {}", self.server.name),
            format!(
                "on {}: sudo slicer vm shell {}",
                self.server.host, self.server.name
            ),
        )
        .needs([StepName::VmUp.on(&self.server.name)])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let key = world.secrets.own_public_key()?;
        // The daemon's own YAML names it: every boot of a new disk puts it there.
        if key == world.secrets.ssh_public_key {
            return Ok(Finding::done());
        }
        let slicer = self.slicer(world).await?;
        Ok(if slicer.is_authorized(&self.server.name, &key).await? {
            Finding::Done("made anew by an import".into())
        } else {
            Finding::differs("it knows the lost key only")
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let key = world.secrets.own_public_key()?;
        let slicer = self.slicer(world).await?;
        slicer.authorize_key(permit, &self.server.name, &key).await
    }
}
