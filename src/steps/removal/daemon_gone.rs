//! A daemon is gone from its host: its unit, its VMs with their disks, its bridge, its directory.

use std::time::Duration;

use async_trait::async_trait;

use super::console_logs;
use crate::failure::{Code, Failure, Result};
use crate::generate::unit_path;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Adopted, FoundDaemon, unit_of};
use crate::remote::{Look, Machine, Script};
use crate::steps::daemon_running;
use crate::steps::unit::Unit;
use crate::world::World;

/// A daemon to remove; everything else about it follows from its group's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Its group.
    pub group: String,
    /// The host it runs on.
    pub host: String,
    /// The group whose daemon serves it, where that is not its own: of its own it has a bridge and logs.
    pub shares: Option<String>,
    /// What is the person's about it, where one set it up: that stays.
    pub adopted: Option<Adopted>,
}

impl Remains {
    /// What is left of it because a person set it up.
    pub fn kept_files(&self) -> Option<String> {
        let own = self.adopted.as_ref()?;
        Some(format!("the files of {} in {}", self.group, own.directory))
    }
}

pub(super) struct DaemonGone {
    daemon: Remains,
    unit: String,
    directory: String,
    /// Where its unit works, by which a unit of this name is known to be its.
    works: String,
    bridge: String,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("daemon-gone", group)
}

impl DaemonGone {
    pub(super) fn new(cluster: &str, daemon: &Remains) -> Self {
        let group = &daemon.group;
        let own = daemon.adopted.as_ref();
        let directory = format!("{}/{cluster}/{group}", FoundDaemon::ROOT);
        Self {
            unit: unit_of(group, own),
            works: own.map_or_else(|| directory.clone(), |own| own.directory.clone()),
            directory,
            bridge: format!("br{group}0"),
            daemon: daemon.clone(),
        }
    }

    fn unit_file(&self) -> String {
        unit_path(&self.unit)
    }

    /// A person's unit stays, and starts no more.
    fn keeps_unit(&self) -> bool {
        let own = self.daemon.adopted.as_ref();
        own.is_some_and(|own| own.unit.is_some())
    }

    /// Its processes, where a person may have started one.
    async fn hand_started(&self, host: &Machine) -> Result<Vec<u32>> {
        match &self.daemon.adopted {
            Some(own) => daemon_running::hand_started(host, own).await,
            None => Ok(Vec::new()),
        }
    }

    /// A unit of this name that runs elsewhere is somebody else's, and so is the bridge.
    async fn foreign(&self, host: &Machine) -> Result<bool> {
        let ours = format!("WorkingDirectory={}", self.works);
        let unit = host.read(&self.unit_file()).await?;
        Ok(unit.is_some_and(|unit| !unit.lines().any(|line| line == ours)))
    }
}

/// Disabled first: a reboot in the middle must not bring it back. The directory last: by it a later run knows that
/// something is left.
const REMOVE: &str = "set -e; u={}; f={}; b={}; d={}
systemctl -q disable -- \"$u\" 2>/dev/null || true
systemctl stop -- \"$u\" 2>/dev/null || [ \"$(systemctl is-active -- \"$u\")\" != active ]
if [ -n \"$f\" ]; then rm -f -- \"$f\"; rm -rf -- \"$f.d\"; fi; systemctl daemon-reload; systemctl reset-failed -- \"$u\" 2>/dev/null || true
if [ -d \"/sys/class/net/$b\" ]; then ip link delete \"$b\"; fi
rm -rf --one-file-system -- \"$d\"";

/// As Ctrl-C would: its VMs are shut down.
const STOP: &str = "kill -TERM {} 2>/dev/null; n=0
while kill -0 {} 2>/dev/null; do [ $n -lt 180 ] || exit 1; sleep 1; n=$((n+1)); done";

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
        let (processes, foreign, unit, directory, bridge, logs) = tokio::try_join!(
            self.hand_started(host),
            self.foreign(host),
            Unit::look(host, &self.unit),
            host.look(&directory),
            host.look(&bridge),
            console_logs::left(host, &self.daemon.group)
        )?;
        let why = if directory.ok() {
            format!("{} is there", self.directory)
        } else if !processes.is_empty() {
            "it runs".to_owned()
        } else if foreign {
            return Ok(Finding::Done("what has its name is not ours".into()));
        } else if !(unit.file.is_empty() || self.keeps_unit() && !unit.enabled())
            || !matches!(unit.active.as_str(), "" | "inactive")
        {
            format!("{} is there", self.unit)
        } else if bridge.ok() {
            format!("{} is there", self.bridge)
        } else if logs {
            "its VMs' console logs are there".to_owned()
        } else {
            return Ok(Finding::done());
        };
        Ok(Finding::Differs(why))
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let host = world.host(&self.daemon.host)?;
        if self.foreign(host).await? {
            let script = Script::new("rm -rf --one-file-system -- {}", &[&self.directory]);
            let what = "removing what is ours";
            return host.must(hands, what, &script).await.map(drop);
        }
        let file = if self.keeps_unit() {
            String::new()
        } else {
            self.unit_file()
        };
        if !Unit::look(host, &self.unit).await?.runs() {
            for process in self.hand_started(host).await? {
                let process = process.to_string();
                let stop = Script::new(STOP, &[&process, &process]).limit(Duration::from_secs(200));
                host.must(hands, "stopping the daemon", &stop).await?;
            }
        }
        let words = [&*self.unit, &file, &self.bridge, &self.directory];
        // The unit gives its VMs three minutes.
        let script = Script::new(REMOVE, &words).limit(Duration::from_secs(200));
        let done = host.run(hands, &script).await?;
        if done.ok() {
            return console_logs::remove(host, hands, &self.daemon.group).await;
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
                shares: None,
                adopted: None,
            },
        )
    }

    /// What a person set up is stopped; its files and its unit are that person's.
    #[tokio::test]
    async fn an_adopted_daemon_is_stopped_and_its_files_stay() {
        let daemon = crate::steps::testing::plan().daemons[1].clone();
        let mut own = crate::steps::testing::adopted(&daemon);
        let fake = Fake::new()
            .says("comm", "4711\n")
            .says("cat --", "[Service]\nWorkingDirectory=/home/alex\n");
        let world = world(&[("ryzen", &fake)]);
        for unit in [None, Some("mine.service".to_owned())] {
            own.unit = unit;
            let remains = Remains {
                group: daemon.group.clone(),
                host: "ryzen".into(),
                shares: None,
                adopted: Some(own.clone()),
            };
            let step = DaemonGone::new("home", &remains);
            step.apply(&world, &hands()).await.unwrap();
        }
        assert!(fake.was_told("kill -TERM 4711"));
        let told = fake.told();
        assert!(told.iter().all(|(command, _)| !command.contains("/home/alex/k3s")
            || command.contains("comm")));
        assert!(
            fake.was_told("u=mine.service") && !fake.was_told("f=/etc/systemd/system/mine.service")
        );
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
            (
                gone()
                    .answers("test -d", 1, "")
                    .answers("/var/log/slicer", 1, ""),
                true,
            ),
            // Another group's daemon served it: nothing else of it outlives that.
            (gone().answers("test -d", 1, ""), false),
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
