//! A daemon is gone from its host: its unit, its VMs with their disks, its bridge, its directory. What of it is ours is for
//! [`crate::deletion`] to say.

use std::time::Duration;

use async_trait::async_trait;

use crate::deletion::{Belongings, DeletablePath, Seen, is_same_directory};
use crate::failure::{Code, Failure, Result};
use crate::generate::unit_path;
use crate::names::ours::ROOT;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Adopted, unit_of};
use crate::remote::{Machine, Probe, Script};
use crate::step_id::StepName;
use crate::steps::daemon;
use crate::steps::removal::parts::console_logs;
use crate::steps::support::unit::Unit;
use crate::world::World;

/// A daemon to remove; everything else about it follows from its group's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonToRemove {
    /// Its group.
    pub group: String,
    /// The host it runs on.
    pub host: String,
    /// The group whose daemon serves it, where that is not its own: of its own it has a bridge and logs.
    pub shares: Option<String>,
    /// What is the person's about it, where one set it up: that stays.
    pub adopted: Option<Adopted>,
    /// Another daemon on the host, which is not the cluster's, serves a group of this name.
    pub served_elsewhere: bool,
}

impl DaemonToRemove {
    /// What is left of it because a person set it up.
    pub fn kept_files(&self) -> Option<String> {
        let own = self.adopted.as_ref()?;
        Some(format!("the files of {} in {}", self.group, own.directory))
    }
}

pub(crate) struct DaemonGone {
    daemon: DaemonToRemove,
    unit: String,
    directory: String,
    /// Where its unit works, by which a unit of this name is known to be its.
    works: String,
    bridge: String,
    cluster: String,
}

impl DaemonGone {
    pub(crate) fn new(cluster: &str, daemon: &DaemonToRemove) -> Self {
        let group = &daemon.group;
        let own = daemon.adopted.as_ref();
        let directory = format!("{ROOT}/{cluster}/{group}");
        Self {
            unit: unit_of(group, own),
            works: own.map_or_else(|| directory.clone(), |own| own.directory.clone()),
            directory,
            bridge: format!("br{group}0"),
            cluster: cluster.to_owned(),
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
            Some(own) => daemon::running::hand_started(host, own).await,
            None => Ok(Vec::new()),
        }
    }

    /// Where the unit of its name works, by its file, else by what systemd knows; `None` where there is no such unit. The name that
    /// we know of the directory, where it says it otherwise, as by a link.
    async fn unit_works(&self, host: &Machine, unit: &Unit) -> Result<Option<String>> {
        let said = if let Some(text) = host.read(&self.unit_file()).await? {
            let mut lines = text.lines().map(str::trim);
            let works = lines.find_map(|line| line.strip_prefix("WorkingDirectory="));
            // `-` says that the directory may be missing.
            works.unwrap_or_default().trim_start_matches('-').to_owned()
        } else if unit.is_known() {
            unit.works.clone().unwrap_or_default()
        } else {
            return Ok(None);
        };
        let ours = is_same_directory(&said, &self.works)
            || !said.is_empty() && self.leads_to_works(host, &said).await?;
        Ok(Some(if ours { self.works.clone() } else { said }))
    }

    /// Whether a directory is the one where its unit works, all links followed.
    async fn leads_to_works(&self, host: &Machine, directory: &str) -> Result<bool> {
        let (said, works) = (
            Probe::Resolved(directory.to_owned()),
            Probe::Resolved(self.works.clone()),
        );
        let (said, works) = tokio::try_join!(host.probe(&said), host.probe(&works))?;
        Ok(!said.stdout.trim().is_empty() && said.stdout == works.stdout)
    }

    /// Whether our directory for it is there. What another group's daemon served has none of its own; the cluster's stays until
    /// the host carries nothing else of it.
    async fn has_directory(&self, host: &Machine) -> Result<bool> {
        let path = match &self.daemon.shares {
            None => self.directory.clone(),
            Some(_) => format!("{}/{}", ROOT, self.cluster),
        };
        Ok(host.probe(&Probe::Directory(path)).await?.ok())
    }

    async fn seen(&self, host: &Machine, unit: &Unit) -> Result<Seen> {
        let (directory, unit, processes) = tokio::try_join!(
            self.has_directory(host),
            self.unit_works(host, unit),
            self.hand_started(host)
        )?;
        Ok(Seen {
            directory,
            unit,
            runs: !processes.is_empty(),
            adopted: self.daemon.adopted.is_some(),
            served_elsewhere: self.daemon.served_elsewhere,
        })
    }
}

/// Disabled first: a reboot in the middle must not bring it back.
const STOP_UNIT: &str = "set -e; u={}; f={}; b={}
systemctl -q disable -- \"$u\" 2>/dev/null || true
systemctl stop -- \"$u\" 2>/dev/null || [ \"$(systemctl is-active -- \"$u\")\" != active ]
if [ -n \"$f\" ]; then rm -f -- \"$f\"; rm -rf -- \"$f.d\"; fi; systemctl daemon-reload; systemctl reset-failed -- \"$u\" 2>/dev/null || true
if [ -n \"$b\" ] && [ -d \"/sys/class/net/$b\" ]; then ip link delete \"$b\"; fi";

/// Not while a daemon works there, whoever started it: its VMs would run on without their disks.
const REMOVE_DIRECTORY: &str = "d={}; at=$(readlink -f -- \"$d\" || echo \"$d\")
for p in /proc/[0-9]*; do
    read -r name 2>/dev/null <\"$p/comm\" && [ \"$name\" = slicer ] || continue
    [ \"$(readlink \"$p/cwd\" 2>/dev/null)\" = \"$at\" ] || continue
    [ \"$(tr '\\000' '\\n' 2>/dev/null <\"$p/cmdline\" | sed -n 2p)\" = up ] || continue
    echo \"process ${p#/proc/} runs slicer up in $d\" >&2; exit 1
done
rm -rf --one-file-system -- {}";

/// As Ctrl-C would: its VMs are shut down.
const STOP: &str = "kill -TERM {} 2>/dev/null; n=0
while kill -0 {} 2>/dev/null; do [ $n -lt 180 ] || exit 1; sleep 1; n=$((n+1)); done";

#[async_trait]
impl Step<World> for DaemonGone {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DaemonGone.on(&self.daemon.group),
            format!(
                "Remove {} and its VMs from {}",
                self.daemon.group, self.daemon.host
            ),
            format!(
                "on {}: sudo systemctl status {}; run again",
                self.daemon.host, self.unit
            ),
        )
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        let bridge = Probe::Directory(format!("/sys/class/net/{}", self.bridge));
        let directory = Probe::Directory(self.directory.clone());
        let (unit, directory, bridge, logs) = tokio::try_join!(
            Unit::look(host, &self.unit),
            host.probe(&directory),
            host.probe(&bridge),
            console_logs::left(host, &self.daemon.group)
        )?;
        let seen = self.seen(host, &unit).await?;
        let belongings = Belongings::of(&seen, &self.works);
        let (has_unit, has_rest) = (belongings.has_unit(), belongings == Belongings::All);
        let unit_is_left = !(unit.file.is_empty() || self.keeps_unit() && !unit.enabled())
            || !matches!(unit.active.as_str(), "" | "inactive");
        let why = if directory.ok() {
            format!("{} is there", self.directory)
        } else if seen.runs {
            "it runs".to_owned()
        } else if has_unit && unit_is_left {
            format!("{} is there", self.unit)
        } else if has_rest && bridge.ok() {
            format!("{} is there", self.bridge)
        } else if has_rest && logs {
            "its VMs' console logs are there".to_owned()
        } else {
            let has_its_name = unit.is_known() && !has_unit || bridge.ok() || logs;
            return Ok(if has_its_name {
                Finding::Done("what has its name is not ours".into())
            } else {
                Finding::done()
            });
        };
        Ok(Finding::Differs(why))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.daemon.host)?;
        let unit = Unit::look(host, &self.unit).await?;
        let belongings = Belongings::of(&self.seen(host, &unit).await?, &self.works);
        if belongings.stops() {
            self.stop(host, permit, &unit, belongings).await?;
        }
        if belongings == Belongings::All {
            console_logs::remove(host, permit, &self.daemon.group).await?;
        }
        // Last: by it a later run knows that something is left, and that it is ours.
        let directory = DeletablePath::of_cluster(&self.cluster, &self.directory)?;
        let directory = directory.as_str();
        let script = Script::new(REMOVE_DIRECTORY, &[directory, directory]);
        let script = script.limit(Duration::from_secs(200));
        let what = "removing the daemon's directory";
        host.must(permit, what, &script).await.map(drop)
    }
}

impl DaemonGone {
    /// Stops the daemon with its VMs; then what is its of unit and bridge is gone.
    async fn stop(
        &self,
        host: &Machine,
        permit: &WritePermit,
        unit: &Unit,
        belongings: Belongings,
    ) -> Result<()> {
        // A unit stops its own.
        if !(belongings.has_unit() && unit.runs()) {
            for process in self.hand_started(host).await? {
                let process = process.to_string();
                let stop = Script::new(STOP, &[&process, &process]).limit(Duration::from_secs(200));
                host.must(permit, "stopping the daemon", &stop).await?;
            }
        }
        if !belongings.has_unit() {
            return Ok(());
        }
        let file = belongings.unit_file(&self.unit_file(), self.keeps_unit());
        let file = file.as_ref().map_or("", DeletablePath::as_str);
        let bridge = match belongings {
            Belongings::All => &*self.bridge,
            _ => "",
        };
        let words = [&*self.unit, file, bridge];
        // The unit gives its VMs three minutes.
        let script = Script::new(STOP_UNIT, &words).limit(Duration::from_secs(200));
        let done = host.run(permit, &script).await?;
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
        .hint(self.meta().hint))
    }
}

#[cfg(test)]
mod tests;
