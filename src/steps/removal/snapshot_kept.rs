//! A last snapshot of etcd lies on the workstation, 0600. The server token that opens it lies in the same directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::deletion::{Known, Snapshot, last_snapshot};
use crate::failure::{Code, Failure, Result};
use crate::names::k3s::SNAPSHOTS_DIRECTORY;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Role;
use crate::remote::{Machine, Script};
use crate::secret::Secret;
use crate::step_id::StepName;
use crate::steps::daemon;
use crate::steps::support::unit::Unit;
use crate::world::World;

/// How the files are called: before runs had a name of their own, only this.
const NAME: &str = "last-snapshot";

/// Where this run's snapshot is to lie, and the newest of earlier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// This run's.
    pub own: PathBuf,
    /// An earlier run's, where there is one.
    pub earlier: Option<PathBuf>,
}

impl Snapshots {
    /// Those in the state's directory; `run` is this run's id.
    pub fn of(directory: &Path, run: &str) -> Self {
        let own = directory.join(format!("{NAME}-{run}"));
        let mut before: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs_err::read_dir(directory).into_iter().flatten().flatten() {
            let is_one = entry.file_name().to_string_lossy().starts_with(NAME);
            let written = entry.metadata().and_then(|facts| facts.modified());
            if let Ok(written) = written
                && is_one
                && entry.path() != own
            {
                before.push((written, entry.path()));
            }
        }
        let newest = before.into_iter().max();
        Self {
            own,
            earlier: newest.map(|(_, path)| path),
        }
    }
}

pub(crate) struct SnapshotKept {
    snapshots: Snapshots,
}

impl SnapshotKept {
    pub(crate) fn new(snapshots: Snapshots) -> Self {
        Self { snapshots }
    }

    /// Which snapshot there is, and its file.
    async fn last(&self, world: &World, failed: bool) -> Result<(Snapshot, &Path)> {
        let Snapshots { own, earlier } = &self.snapshots;
        let known = Known {
            own: own.exists(),
            earlier: earlier.is_some(),
            failed,
            begun: failed && removal_has_begun(world).await?,
        };
        let last = last_snapshot(known);
        let file = match last {
            Snapshot::Earlier => earlier.as_ref().unwrap_or(own),
            _ => own,
        };
        Ok((last, file))
    }

    /// Takes one: where a server fails, as with a full disk, the others are tried, each once.
    async fn take(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let (mut tried, mut failed) = (BTreeSet::new(), None);
        loop {
            let server = match world.first_server().await {
                Ok(server) if tried.insert(server.name().to_owned()) => server,
                Ok(_) => return failed.unwrap_or(Ok(())),
                Err(failure) => return failed.unwrap_or(Err(failure)),
            };
            match self.take_on(server, permit).await {
                Ok(()) => return Ok(()),
                failure => _ = failed.get_or_insert(failure),
            }
            world.failed(server).await;
        }
    }

    async fn take_on(&self, server: &Machine, permit: &WritePermit) -> Result<()> {
        let mark = Secret::random_hex(4)
            .map_err(|error| Failure::new(Code::LocalFile, "no random numbers").because(error))?;
        let name = format!("slicer-k3s-last-{}", mark.expose());
        let script = Script::new(SAVE, &[&name, SNAPSHOTS_DIRECTORY]).limit(Duration::from_mins(5));
        let saved = server.must(permit, "taking a snapshot", &script).await?;
        let Some((hash, path)) = saved.stdout.lines().next().and_then(|l| l.split_once("  "))
        else {
            return Err(Failure::new(
                Code::Kubernetes,
                format!("{} took no snapshot", server.name()),
            )
            .because(saved.last_words())
            .hint(self.meta().hint));
        };
        server.fetch(path, &self.snapshots.own, hash).await
    }
}

/// Whether a daemon of servers is gone from its host or will not start again by itself. Removing it begins with that, and `init`
/// takes it back.
async fn removal_has_begun(world: &World) -> Result<bool> {
    let daemons = world.plan.daemons.iter();
    for daemon in daemons.filter(|daemon| daemon.role == Role::ControlPlane) {
        // A host that is off says nothing.
        if let Ok(host) = world.host(&daemon.host) {
            let unit = Unit::look(host, &daemon.unit()).await?;
            let started = unit.runs() || unit.enabled();
            // What a person started and handed over has no unit until `init` gives it one.
            if !started && !daemon::running::by_hand(host, daemon).await? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Prints "SHA256  PATH" of the snapshot it took: the file's name ends in what k3s adds to ours.
const SAVE: &str = "set -e; n={}; d={}
k3s etcd-snapshot save --name \"$n\" >&2
sha256sum -- \"$d/$n\"*";

#[async_trait]
impl Step<World> for SnapshotKept {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::SnapshotKept.on_cluster(),
            "Keep a last snapshot of etcd",
            "on a server: sudo k3s etcd-snapshot save; or run again without --snapshot",
        )
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        let (last, file) = self.last(world, phase == Phase::After).await?;
        let size = fs_err::metadata(file).map_or(0, |facts| facts.len());
        let file = file.display();
        Ok(match last {
            Snapshot::Taken => Finding::Done(format!("{file}, {size} bytes")),
            Snapshot::Earlier => Finding::Done(format!(
                "{file}, {size} bytes, of an earlier run: no server takes one any more"
            )),
            Snapshot::Missing => Finding::differs(format!("{file} does not exist")),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        match self.take(world, permit).await {
            Err(failure) if self.last(world, true).await?.0 == Snapshot::Missing => Err(failure),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    /// With a full disk on the server that is ready first, no run ever came to a snapshot.
    #[tokio::test(start_paused = true)]
    async fn where_a_server_takes_none_the_others_are_tried() {
        let home = tempfile::tempdir().unwrap();
        let step = SnapshotKept::new(Snapshots::of(home.path(), "f00"));
        let full = Fake::new().answers("etcd-snapshot save", 1, "no space left on device");
        let saved = format!("{}  /x/snapshot\n", "a".repeat(64));
        let well = Fake::new().says("etcd-snapshot save", &saved);
        let all = world(&[("k3s-cp-1", &full), ("k3s-cp-2", &well)]);
        let failure = step.take(&all, &permit()).await.unwrap_err();
        // The second one is told to hand its snapshot over, which the stand-in does not.
        assert!(full.was_told("save") && well.was_told("save"), "{failure}");
        assert!(failure.to_string().contains("no space left"), "{failure}");
        let count = |fake: &Fake| {
            let told = fake.told();
            told.iter()
                .filter(|(said, _)| said.contains("save"))
                .count()
        };
        assert_eq!((count(&full), count(&well)), (1, 1));
    }

    /// It took what lay there for its own, however old that was.
    #[tokio::test]
    async fn a_file_of_an_earlier_run_is_not_this_runs_snapshot() {
        let home = tempfile::tempdir().unwrap();
        fs_err::write(home.path().join("last-snapshot"), "a month old").unwrap();
        let snapshots = Snapshots::of(home.path(), "f00");
        assert_eq!(
            snapshots.earlier,
            Some(home.path().join("last-snapshot")),
            "what the last release wrote"
        );
        let runs = "ActiveState=active\nSubState=running\nUnitFileState=enabled\n";
        for (unit, counts) in [
            (runs, false),
            ("ActiveState=inactive\nUnitFileState=\n", true),
        ] {
            let step = SnapshotKept::new(snapshots.clone());
            let server = Fake::new().answers("etcd-snapshot save", 1, "");
            let host = Fake::new().says("systemctl show", unit);
            let world = world(&[("k3s-cp-1", &server), ("n100", &host)]);
            let found = step.check(&world, Phase::Before).await.unwrap();
            assert!(matches!(found, Finding::Differs(_)), "{found:?}");
            // A server that cannot take one is no reason to go without.
            assert_eq!(step.apply(&world, &permit()).await.is_ok(), counts);
            let found = step.check(&world, Phase::After).await.unwrap();
            assert_eq!(
                matches!(&found, Finding::Done(note) if note.contains("earlier run")),
                counts
            );
        }
        fs_err::write(&snapshots.own, "new").unwrap();
        let found = SnapshotKept::new(snapshots)
            .check(&world(&[]), Phase::After)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Done(_)), "{found:?}");
    }

    /// Imported, and never touched by `init`: daemons in tmux passed for what a `destroy` of before had stopped.
    #[tokio::test]
    async fn servers_that_a_person_started_are_not_being_removed() {
        for (processes, begun) in [("4711\n", false), ("", true)] {
            let none = "ActiveState=inactive\nUnitFileState=\n";
            let host = Fake::new()
                .says("systemctl show", none)
                .says("comm", processes);
            let mut world = world(&[("n100", &host)]);
            let daemon = &mut world.plan.daemons[0];
            daemon.adopted = Some(crate::testing::adopted(daemon));
            assert_eq!(removal_has_begun(&world).await.unwrap(), begun);
        }
    }
}
