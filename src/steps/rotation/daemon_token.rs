//! A daemon takes its host's new API token and refuses the old one. It reads the token when it starts, and a start costs its
//! workers: the autoscaler makes others.

use std::time::Duration;

use async_trait::async_trait;

use super::host_token;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Daemon;
use crate::remote::Script;
use crate::slicer::Slicer;
use crate::steps::Options;
use crate::steps::daemon_config::host_yaml;
use crate::steps::quorum::Turns;
use crate::world::World;

pub(super) struct DaemonToken {
    daemon: Daemon,
    allow_outage: bool,
    turns: Turns,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("daemon-token", group)
}

impl DaemonToken {
    pub(super) fn new(daemon: &Daemon, options: &Options, turns: &Turns) -> Self {
        Self {
            daemon: daemon.clone(),
            allow_outage: options.allow_outage,
            turns: turns.clone(),
        }
    }

    /// The API as whoever has the old token sees it.
    async fn before(&self, world: &World) -> Result<Option<Slicer>> {
        let Some(old) = world.secrets.retired.slicer.get(&self.daemon.host) else {
            return Ok(None);
        };
        let mut slicer = world.slicer(&self.daemon).await?;
        slicer.token = old.clone();
        Ok(Some(slicer))
    }

    async fn may_restart(&self, world: &World) -> Result<()> {
        if self.allow_outage {
            return Ok(());
        }
        let Some(slicer) = self.before(world).await? else {
            return Ok(());
        };
        let vms = slicer
            .vms(&self.daemon.group)
            .await
            .map_or(1, |vms| vms.len());
        if vms == 0 {
            return Ok(());
        }
        Err(Failure::new(
            Code::PlanConflict,
            format!(
                "{} on {} must restart to read its new token",
                self.daemon.unit(),
                self.daemon.host
            ),
        )
        .because(format!("it would stop {vms} VMs"))
        .hint(format!(
            "slicer-k3s rotate-token --slicer {} --allow-outage",
            self.daemon.host
        )))
    }
}

/// Whether the API takes the client's token.
async fn takes(slicer: &Slicer) -> Result<bool> {
    match slicer.groups().await {
        Ok(_) => Ok(true),
        Err(failure) if failure.code == Code::SlicerToken => Ok(false),
        Err(failure) => Err(failure),
    }
}

#[async_trait]
impl Step for DaemonToken {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!("Take the new API token into use for {}", self.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![host_token::id(&self.daemon.host)]
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }

    fn hint(&self) -> String {
        self.daemon.look_at_journal()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        if !takes(&world.slicer(&self.daemon).await?).await? {
            return Ok(Finding::differs(
                "it refuses the token that its host has now",
            ));
        }
        match self.before(world).await? {
            Some(before) if takes(&before).await? => {
                Ok(Finding::differs("it still accepts the old token"))
            }
            _ => Ok(Finding::done()),
        }
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        self.may_restart(world).await?;
        let host = world.host(&self.daemon.host)?;
        let unit = self.daemon.unit();
        let turn = self.turns.take_for(world, &self.daemon).await?;
        // Waited for: its configuration is the same before and after, so nothing else tells that it has happened.
        let restart =
            Script::new("systemctl restart -- {}", &[&unit]).limit(Duration::from_mins(5));
        host.must(hands, "restarting the daemon", &restart).await?;
        match turn {
            Some(turn) => {
                let yaml = host_yaml(world, &self.daemon)?;
                turn.end(world, host, &unit, &yaml.content).await
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

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
            turns: Turns::default(),
        };
        let refused = step(false).apply(&world, &hands()).await.unwrap_err();
        assert_eq!(refused.code, Code::PlanConflict);
        assert!(!fake.was_told("systemctl restart"));
        step(true).apply(&world, &hands()).await.unwrap();
        assert!(fake.was_told("systemctl restart -- slicer-k3s-agents-1.service"));
    }
}
