//! The host forwards IPv4 packets, also after a reboot.

use async_trait::async_trait;

use crate::failure::Result;
use crate::generate::forwarding;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Host;
use crate::remote::Script;
use crate::step_id::StepName;
use crate::steps::support::diff;
use crate::world::World;

pub(crate) struct Forwarding {
    host: String,
}

impl Forwarding {
    pub(crate) fn new(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
        }
    }
}

#[async_trait]
impl Step<World> for Forwarding {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::Forwarding.on(&self.host),
            format!("Forward packets on {}", self.host),
            format!("on {}: sudo sysctl net.ipv4.ip_forward=1", self.host),
        )
        .needs([StepName::SlicerInstalled.on(&self.host)])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        let now = host.read("/proc/sys/net/ipv4/ip_forward").await?;
        if now.as_deref().map(str::trim) != Some("1") {
            return Ok(Finding::differs("net.ipv4.ip_forward is off"));
        }
        let differs = forwarding().differs(host).await?;
        Ok(differs.map_or_else(Finding::done, Finding::Differs))
    }

    async fn diff(&self, world: &World) -> Result<String> {
        diff::of_files(world.host(&self.host)?, [forwarding()]).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.host)?;
        forwarding().write(host, permit).await?;
        let script = Script::new("echo 1 > /proc/sys/net/ipv4/ip_forward", &[]);
        host.must(permit, "switching on forwarding", &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    #[tokio::test]
    async fn on_now_but_not_after_a_reboot_is_not_enough() {
        let fake = Fake::new().says("ip_forward", "1\n").answers("stat", 1, "");
        let step = Forwarding {
            host: "n100".into(),
        };
        let found = step
            .check(&world(&[("n100", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Differs(why) if why.contains("90-slicer-k3s.conf")));
    }
}
