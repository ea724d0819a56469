//! A daemon's directory holds its host YAML and a place for secrets.

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::names::slicer::CONSOLES;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Adopted, Daemon};
use crate::remote::{Machine, Probe, Script};
use crate::step_id::StepName;
use crate::steps::support::diff;
use crate::steps::support::file::File;
use crate::world::World;

pub(crate) struct DaemonConfig {
    daemon: Daemon,
}

/// The host YAML as a file on its host.
pub(crate) fn host_yaml(world: &World, daemon: &Daemon) -> Result<File> {
    generate::daemon_config(&world.plan, daemon, &world.secrets.ssh_public_key)
}

/// Refuses a unit of this name that runs in another directory: it is another cluster's daemon, or a person's own.
pub(crate) async fn not_anothers(world: &World, daemon: &Daemon) -> Result<()> {
    let host = world.host(&daemon.host)?;
    let directory = world.plan.directory(daemon);
    let unit = host.read(&generate::unit_path(&daemon.unit())).await?;
    let ours = format!("WorkingDirectory={directory}\n");
    if unit.is_none_or(|unit| unit.trim().is_empty() || unit.contains(&ours)) {
        return Ok(());
    }
    Err(Failure::new(
        Code::HostConflict,
        format!(
            "{} on {} is somebody else's daemon",
            daemon.unit(),
            daemon.host
        ),
    )
    .because("it runs in another directory")
    .hint("choose another group name in cluster.toml"))
}

impl DaemonConfig {
    pub(crate) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
        }
    }

    /// Our directory, and the daemon's place for secrets: its API answers 500 to everything about them where that is missing.
    fn private(&self, world: &World) -> [String; 2] {
        let ours = world.plan.directory(&self.daemon);
        let own = self.daemon.adopted.as_ref();
        let works = own.map_or(ours.as_str(), |own| &own.directory);
        [format!("{works}/.secrets"), ours]
    }

    async fn make_private(
        &self,
        world: &World,
        host: &Machine,
        permit: &WritePermit,
    ) -> Result<()> {
        let [secrets, ours] = self.private(world);
        let make = Script::new(
            "set -e; install -d -m 0700 -o root -g root -- {} {}; mkdir -p {}",
            &[&ours, &secrets, CONSOLES],
        );
        host.must(permit, "making the daemon's directory", &make)
            .await
            .map(drop)
    }

    /// What a person described is only looked at.
    async fn kept(&self, host: &Machine, own: &Adopted) -> Result<Finding> {
        let facts = host.probe(&Probe::FileFacts(own.file.clone())).await?;
        if facts.ok() {
            return Ok(Finding::Done(format!("as {} says", own.file)));
        }
        Err(Failure::new(
            Code::HostUnfit,
            format!(
                "{} of the adopted group {} is gone from {}",
                own.file, self.daemon.group, self.daemon.host
            ),
        )
        .because("its daemon would not come back after a reboot")
        .hint("put the file back where it was"))
    }
}

#[async_trait]
impl Step<World> for DaemonConfig {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DaemonConfig.on(&self.daemon.group),
            format!(
                "Describe group {} on {}",
                self.daemon.group, self.daemon.host
            ),
            format!("on {}: df -h /var/lib", self.daemon.host),
        )
        .needs([
            StepName::SlicerInstalled.on(&self.daemon.host),
            StepName::HostMark.on(&self.daemon.host),
        ])
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        for directory in self.private(world) {
            let facts = host.probe(&Probe::Directory(directory.clone())).await?;
            if !facts.ok() {
                return Ok(Finding::differs(format!("{directory} does not exist")));
            }
            if facts.stdout.trim() != "700 0" {
                return Ok(Finding::differs(format!("{directory} is not root's alone")));
            }
        }
        if let Some(own) = &self.daemon.adopted {
            return self.kept(host, own).await;
        }
        let differs = host_yaml(world, &self.daemon)?.differs(host).await?;
        Ok(differs.map_or_else(Finding::done, Finding::Differs))
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let host = world.host(&self.daemon.host)?;
        if self.daemon.adopted.is_some() {
            return Ok(String::new());
        }
        diff::of_files(host, [host_yaml(world, &self.daemon)?]).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.daemon.host)?;
        if self.daemon.adopted.is_some() {
            return self.make_private(world, host, permit).await;
        }
        not_anothers(world, &self.daemon).await?;
        self.make_private(world, host, permit).await?;
        host_yaml(world, &self.daemon)?.write(host, permit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, plan, world};

    fn step() -> DaemonConfig {
        DaemonConfig::new(&plan().daemons[1])
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_ours_is_left_alone() {
        let fake = Fake::new().says("cat --", "[Service]\nWorkingDirectory=/root/mine\n");
        let result = step().apply(&world(&[("ryzen", &fake)]), &permit()).await;
        assert_eq!(result.unwrap_err().code, Code::HostConflict);
        assert!(!fake.was_told("install -d"));
    }

    #[tokio::test]
    async fn a_missing_place_for_secrets_is_noticed() {
        let fake = Fake::new()
            .answers(".secrets", 1, "")
            .says("test -d", "700 0\n");
        let found = step()
            .check(&world(&[("ryzen", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Differs(why) if why.contains(".secrets")));
    }
}
