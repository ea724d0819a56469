//! The host carries a mark: the decisions about it, without secrets, so that another workstation plans the same.

use async_trait::async_trait;

use crate::failure::Result;
use crate::generate;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Host;
use crate::step_id::StepName;
use crate::steps::host::parts::other_marks;
use crate::steps::support::diff;
use crate::steps::support::file::File;
use crate::world::World;

pub(crate) struct HostMark {
    host: String,
}

impl HostMark {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
        }
    }

    fn file(&self, world: &World) -> Result<File> {
        generate::host_mark(&world.plan, &self.host)
    }
}

#[async_trait]
impl Step<World> for HostMark {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::HostMark.on(&self.host),
            format!("Mark {} as a host of this cluster", self.host),
            format!("on {}: df -h /etc", self.host),
        )
        .needs([StepName::SlicerInstalled.on(&self.host)])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        let differs = self.file(world)?.differs(host).await?;
        if differs.is_none() {
            other_marks::check(&world.plan, &self.host, host).await?;
        }
        Ok(differs.map_or_else(Finding::done, Finding::Differs))
    }

    async fn diff(&self, world: &World) -> Result<String> {
        diff::of_files(world.host(&self.host)?, [self.file(world)?]).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.host)?;
        // Ours first: see there.
        self.file(world)?.write(host, permit).await?;
        other_marks::check(&world.plan, &self.host, host).await
    }
}
