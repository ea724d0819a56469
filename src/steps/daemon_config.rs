//! A daemon's directory holds its host YAML and a place for secrets.

use async_trait::async_trait;

use super::difference;
use super::file::File;
use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Daemon;
use crate::remote::{Look, Script};
use crate::world::World;

pub(super) struct DaemonConfig {
    daemon: Daemon,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("daemon-config", group)
}

/// The host YAML as a file on its host.
pub(super) fn host_yaml(world: &World, daemon: &Daemon) -> Result<File> {
    generate::daemon_config(&world.plan, daemon, &world.secrets.ssh_public_key)
}

impl DaemonConfig {
    pub(super) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
        }
    }
}

#[async_trait]
impl Step for DaemonConfig {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!(
            "Describe group {} on {}",
            self.daemon.group, self.daemon.host
        )
    }

    fn needs(&self) -> Vec<StepId> {
        vec![
            super::slicer_installed::id(&self.daemon.host),
            super::host_mark::id(&self.daemon.host),
        ]
    }

    fn hint(&self) -> String {
        format!("on {}: df -h /var/lib", self.daemon.host)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        let directory = world.plan.directory(&self.daemon);
        // The API answers 500 to everything about secrets where `.secrets` is missing.
        for directory in [format!("{directory}/.secrets"), directory] {
            let facts = host.look(&Look::Directory(directory.clone())).await?;
            if facts.stdout.trim() != "700 0" {
                return Ok(Finding::differs(format!("{directory} is not root's alone")));
            }
        }
        let differs = host_yaml(world, &self.daemon)?.differs(host).await?;
        Ok(differs.map_or_else(Finding::done, Finding::Differs))
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let host = world.host(&self.daemon.host)?;
        difference::of_files(host, [host_yaml(world, &self.daemon)?]).await
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let other = format!("/etc/systemd/system/{}", self.daemon.unit());
        let host = world.host(&self.daemon.host)?;
        let directory = world.plan.directory(&self.daemon);
        if let Some(unit) = host.read(&other).await?
            && !unit.contains(&format!("WorkingDirectory={directory}\n"))
        {
            return Err(Failure::new(
                Code::PlanConflict,
                format!(
                    "{} on {} is somebody else's daemon",
                    self.daemon.unit(),
                    self.daemon.host
                ),
            )
            .because("it runs in another directory")
            .hint("choose another group name in cluster.toml"));
        }
        let secrets = format!("{directory}/.secrets");
        let make = Script::new(
            "set -e; install -d -m 0700 -o root -g root -- {} {}; mkdir -p /var/log/slicer",
            &[&directory, &secrets],
        );
        host.must(hands, "making the daemon's directory", &make)
            .await?;
        host_yaml(world, &self.daemon)?.write(host, hands).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    fn step() -> DaemonConfig {
        DaemonConfig::new(&plan().daemons[1])
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_ours_is_left_alone() {
        let fake = Fake::new().says("cat --", "[Service]\nWorkingDirectory=/root/mine\n");
        let result = step().apply(&world(&[("ryzen", &fake)]), &hands()).await;
        assert_eq!(result.unwrap_err().code, Code::PlanConflict);
        assert!(!fake.was_told("install -d"));
    }

    #[tokio::test]
    async fn a_missing_place_for_secrets_is_noticed() {
        let fake = Fake::new()
            .answers(".secrets", 1, "")
            .says("test -d", "700 0\n");
        let found = step().check(&world(&[("ryzen", &fake)])).await.unwrap();
        assert!(matches!(found, Finding::Differs(why) if why.contains(".secrets")));
    }
}
