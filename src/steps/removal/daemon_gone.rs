//! A daemon is gone from its host: its unit, its VMs with their disks, its bridge, its directory.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::FoundDaemon;
use crate::remote::{Look, Machine, Script};
use crate::steps::unit::Unit;
use crate::world::World;

/// A daemon to remove; everything else about it follows from its group's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Its group.
    pub group: String,
    /// The host it runs on.
    pub host: String,
}

pub(super) struct DaemonGone {
    daemon: Remains,
    unit: String,
    directory: String,
    bridge: String,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("daemon-gone", group)
}

impl DaemonGone {
    pub(super) fn new(cluster: &str, daemon: &Remains) -> Self {
        let group = &daemon.group;
        Self {
            unit: format!("slicer-{group}.service"),
            directory: format!("{}/{cluster}/{group}", FoundDaemon::ROOT),
            bridge: format!("br{group}0"),
            daemon: daemon.clone(),
        }
    }

    fn unit_file(&self) -> String {
        format!("/etc/systemd/system/{}", self.unit)
    }

    /// A unit of this name that runs elsewhere is somebody else's, and so is the bridge.
    async fn foreign(&self, host: &Machine) -> Result<bool> {
        let ours = format!("WorkingDirectory={}", self.directory);
        let unit = host.read(&self.unit_file()).await?;
        Ok(unit.is_some_and(|unit| !unit.lines().any(|line| line == ours)))
    }
}

/// Disabled first: a reboot in the middle must not bring it back. The directory last: by it a later run knows that
/// something is left.
const REMOVE: &str = "set -e; u={}; f={}; b={}; d={}; logs={}
systemctl -q disable -- \"$u\" 2>/dev/null || true
systemctl stop -- \"$u\" 2>/dev/null || [ \"$(systemctl is-active -- \"$u\")\" != active ]
rm -f -- \"$f\"; rm -rf -- \"$f.d\"; systemctl daemon-reload; systemctl reset-failed -- \"$u\" 2>/dev/null || true
if [ -d \"/sys/class/net/$b\" ]; then ip link delete \"$b\"; fi
rm -rf --one-file-system -- \"$d\"
rm -f -- \"$logs\"-[0-9].txt \"$logs\"-[0-9][0-9].txt";

#[async_trait]
impl Step for DaemonGone {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!(
            "Remove {} and its VMs from {}",
            self.daemon.group, self.daemon.host
        )
    }

    fn hint(&self) -> String {
        format!(
            "on {}: sudo systemctl status {}; run again",
            self.daemon.host, self.unit
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        let directory = Look::Directory(self.directory.clone());
        let bridge = Look::Directory(format!("/sys/class/net/{}", self.bridge));
        let (foreign, unit, directory, bridge) = tokio::try_join!(
            self.foreign(host),
            Unit::look(host, &self.unit),
            host.look(&directory),
            host.look(&bridge)
        )?;
        let why = if directory.ok() {
            format!("{} is there", self.directory)
        } else if foreign {
            return Ok(Finding::Done("what has its name is not ours".into()));
        } else if !unit.file.is_empty() || !matches!(unit.active.as_str(), "" | "inactive") {
            format!("{} is there", self.unit)
        } else if bridge.ok() {
            format!("{} is there", self.bridge)
        } else {
            return Ok(Finding::done());
        };
        Ok(Finding::Differs(why))
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let host = world.host(&self.daemon.host)?;
        let logs = format!("/var/log/slicer/{}", self.daemon.group);
        if self.foreign(host).await? {
            let script = Script::new("rm -rf --one-file-system -- {}", &[&self.directory]);
            let what = "removing what is ours";
            return host.must(hands, what, &script).await.map(drop);
        }
        let file = self.unit_file();
        let words = [&*self.unit, &file, &self.bridge, &self.directory, &logs];
        // The unit gives its VMs three minutes.
        let script = Script::new(REMOVE, &words).limit(Duration::from_secs(200));
        let done = host.run(hands, &script).await?;
        if done.ok() {
            return Ok(());
        }
        Err(Failure::new(
            Code::Command,
            format!(
                "{} on {} cannot be removed",
                self.daemon.group, self.daemon.host
            ),
        )
        .because(done.last_words())
        .hint(self.hint()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, world};

    fn step() -> DaemonGone {
        DaemonGone::new(
            "home",
            &Remains {
                group: "k3s-agents-1".into(),
                host: "ryzen".into(),
            },
        )
    }

    /// Somebody's own daemon may have our unit's name: only where it works tells whose it is.
    #[tokio::test]
    async fn a_unit_of_somebody_else_is_left_alone() {
        let fake = Fake::new()
            .says("cat --", "[Service]\nWorkingDirectory=/root/mine\n")
            .says(
                "systemctl show",
                "ActiveState=active\nUnitFileState=enabled\n",
            )
            .answers("test -d", 1, "");
        let world = world(&[("ryzen", &fake)]);
        assert!(matches!(
            step().check(&world).await.unwrap(),
            Finding::Done(_)
        ));
        step().apply(&world, &hands()).await.unwrap();
        assert!(!fake.was_told("systemctl stop") && !fake.was_told("ip link"));
    }

    #[tokio::test]
    async fn it_is_there_as_long_as_any_part_of_it_is() {
        let gone = || {
            Fake::new()
                .answers("cat --", 1, "")
                .says("systemctl show", "ActiveState=inactive\nUnitFileState=\n")
        };
        for (fake, done) in [
            (gone().answers("test -d", 1, ""), true),
            (
                gone()
                    .says("/sys/class/net", "755 0")
                    .answers("test -d", 1, ""),
                false,
            ),
            (
                gone().says("/var/lib/slicer-k3s/home/k3s-agents-1", "700 0"),
                false,
            ),
        ] {
            let found = step().check(&world(&[("ryzen", &fake)])).await.unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
        }
    }
}
