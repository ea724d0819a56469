//! A running daemon has read its current configuration. It reads it when it starts, and a start costs what runs there.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan};
use crate::remote::Script;
use crate::step_id::{StepId, StepName};
use crate::steps::group::agents_drained;
use crate::steps::restart::RestartReason;
use crate::steps::restart::has_read::Process;
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::support::unit::Unit;
use crate::steps::{Options, restart};
use crate::world::World;

pub(crate) struct DaemonCurrent {
    daemon: Daemon,
    allow_outage: bool,
    drained: Vec<StepId>,
    turns: RollingRestart,
}

impl DaemonCurrent {
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

#[async_trait]
impl Step<World> for DaemonCurrent {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DaemonCurrent.on(&self.daemon.group),
            format!("Run {} with its current configuration", self.daemon.group),
            self.daemon.look_at_journal(),
        )
        .needs([StepName::DaemonRunning.on(&self.daemon.group)])
        .needs(self.drained.clone())
        .timeout(Duration::from_mins(4))
        .code(Code::SlicerApi)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        if Process::Daemon(&self.daemon).has_read(world, host).await? {
            return Ok(Finding::done());
        }
        // Whether it comes up is another's question; a restart would cost nothing, and gain nothing.
        let unit = Unit::look(host, &self.daemon.unit()).await?;
        Ok(if unit.has_failed() {
            Finding::Done("its next start reads it".into())
        } else {
            Finding::differs("it runs with an older configuration")
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        if !self.allow_outage {
            restart::check_restart(world, &self.daemon, RestartReason::Configuration).await?;
        }
        let script = Script::new("systemctl restart --no-block -- {}", &[&self.daemon.unit()]);
        restart::restart(world, permit, &self.daemon, &self.turns, &script).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::sha256;
    use crate::testing::{Fake, permit, plan, world};

    fn step(allow_outage: bool) -> DaemonCurrent {
        DaemonCurrent {
            daemon: plan().daemons[0].clone(),
            allow_outage,
            drained: Vec::new(),
            turns: RollingRestart::default(),
        }
    }

    const RUNS: &str = "ActiveState=active\nSubState=running\n";

    /// One that had just ended for want of a licence was told as one that must restart, at the cost of an outage.
    #[tokio::test]
    async fn a_daemon_that_does_not_run_needs_no_restart() {
        let failed = "ActiveState=activating\nSubState=auto-restart\n";
        let restarts = "ActiveState=deactivating\nSubState=stop-sigterm\n";
        for (unit, done) in [(RUNS, false), (failed, true), (restarts, false)] {
            let fake = Fake::new().says("ActiveState", unit);
            let found = step(false)
                .check(&world(&[("n100", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
        }
    }

    /// Restarting a daemon reboots its servers: never by the way.
    #[tokio::test]
    async fn a_changed_configuration_restarts_only_with_permission() {
        let wanted = crate::steps::daemon::config::host_yaml(&world(&[]), &step(true).daemon);
        let fake = Fake::new()
            .says("ActiveState", RUNS)
            .says_first("environ", "0ld\n")
            .says("environ", &sha256(wanted.unwrap().content.as_bytes()));
        let world = world(&[("n100", &fake)]);
        let found = step(false).check(&world, Phase::Before).await.unwrap();
        assert!(matches!(found, Finding::Differs(_)));
        let result = step(false).apply(&world, &permit()).await;
        assert_eq!(result.unwrap_err().code, Code::Outage);
        assert!(!fake.was_told("systemctl restart"));
        step(true).apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told("systemctl restart --no-block -- slicer-k3s-cp.service"));
    }
}
