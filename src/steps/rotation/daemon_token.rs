//! A daemon takes its host's new API token and refuses the old one. It reads the token when it starts, and a start costs its
//! workers: the autoscaler makes others.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::Result;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan};
use crate::remote::Script;
use crate::slicer::{host_token, slicer_on};
use crate::step_id::{StepId, StepName};
use crate::steps::Options;
use crate::steps::group::agents_drained;
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::restart::{self, RestartReason};
use crate::world::World;

pub(crate) struct DaemonToken {
    daemon: Daemon,
    allow_outage: bool,
    drained: Vec<StepId>,
    turns: RollingRestart,
}

impl DaemonToken {
    pub(crate) fn new(
        plan: &Plan,
        daemon: &Daemon,
        options: &Options,
        turns: &RollingRestart,
    ) -> Self {
        Self {
            daemon: daemon.clone(),
            allow_outage: options.allow_outage,
            drained: agents_drained::needs(plan, daemon, options.allow_outage),
            turns: turns.clone(),
        }
    }
}

/// Why a daemon has not taken its host's new token yet, where it has not.
pub(crate) async fn lacks(world: &World, daemon: &Daemon) -> Result<Option<&'static str>> {
    let host = world.host(&daemon.host)?;
    if host_token(host).await?.is_none() {
        return Ok(Some("its host has no token"));
    }
    let mut slicer = slicer_on(host, daemon).await?;
    if !slicer.takes_its_token().await? {
        return Ok(Some("it refuses the token that its host has now"));
    }
    let Some(old) = world.secrets.retired.slicer.get(&daemon.host) else {
        return Ok(None);
    };
    slicer.token = old.clone();
    let takes_old = slicer.takes_its_token().await?;
    Ok(takes_old.then_some("it still accepts the old token"))
}

#[async_trait]
impl Step<World> for DaemonToken {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DaemonToken.on(&self.daemon.group),
            format!("Take the new API token into use for {}", self.daemon.group),
            self.daemon.look_at_journal(),
        )
        .needs([StepName::HostToken.on(&self.daemon.host)])
        .needs(self.drained.clone())
        .timeout(Duration::from_mins(2))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let lacks = lacks(world, &self.daemon).await?;
        Ok(lacks.map_or_else(Finding::done, Finding::differs))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        if !self.allow_outage {
            restart::check_restart(world, &self.daemon, RestartReason::Token).await?;
        }
        // Waited for: its configuration is the same before and after, so nothing else tells that it has happened.
        let script = Script::new("systemctl restart -- {}", &[&self.daemon.unit()])
            .limit(Duration::from_mins(5));
        restart::restart(world, permit, &self.daemon, &self.turns, &script).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;
    use crate::testing::{Fake, permit, plan, world};

    /// Workers die with their daemon: only where the person said so.
    #[tokio::test]
    async fn a_daemon_that_has_vms_is_restarted_only_with_permission() {
        let fake = Fake::new().says("auth/token", "new\n").says(
            "GET /hostgroup/k3s-agents-1/nodes",
            r#"[{"hostname":"a-1"}]"#,
        );
        let mut world = world(&[("ryzen", &fake)]);
        let old = crate::secret::Secret::new("old");
        world.secrets.retired.slicer.insert("ryzen".into(), old);
        let step = |allow_outage| DaemonToken {
            daemon: plan().daemons[1].clone(),
            allow_outage,
            drained: Vec::new(),
            turns: RollingRestart::default(),
        };
        let refused = step(false).apply(&world, &permit()).await.unwrap_err();
        assert_eq!(refused.code, Code::Outage);
        assert!(!fake.was_told("systemctl restart"));
        step(true).apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told("systemctl restart -- slicer-k3s-agents-1.service"));
    }

    /// What a broken connection left is written again, and the daemon restarts for it.
    #[tokio::test]
    async fn a_host_without_a_token_lacks_it() {
        let world = world(&[("ryzen", &Fake::new())]);
        let lacks = lacks(&world, &plan().daemons[1]).await.unwrap();
        assert_eq!(lacks, Some("its host has no token"));
    }
}
