//! A daemon runs, and starts at boot.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::names::slicer::{LICENCE, TOKEN_PATHS};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Adopted, Daemon};
use crate::remote::{Machine, Probe, Script};
use crate::step_id::StepName;
use crate::steps::daemon::config::not_anothers;
use crate::steps::support::diff;
use crate::steps::support::file::File;
use crate::steps::support::unit::Unit;
use crate::world::World;

pub(crate) struct DaemonRunning {
    daemon: Daemon,
    /// With so many restarts it was seen running first at this time.
    since: Mutex<Option<(u32, Instant)>>,
}

/// A daemon that failed before and now runs for so long does not fail for the same reason.
const STABLE_FOR: Duration = Duration::from_secs(6);

/// Whether the daemon runs without its unit, as whoever set it up started it: two of one group would fight over its VMs.
pub(crate) async fn by_hand(host: &Machine, daemon: &Daemon) -> Result<bool> {
    let Some(own) = &daemon.adopted else {
        return Ok(false);
    };
    if Unit::look(host, &daemon.unit()).await?.runs() {
        return Ok(false);
    }
    Ok(!hand_started(host, own).await?.is_empty())
}

/// Why a daemon that was started and does not stay up never will: no licence, or nothing that a fifth start would change.
pub(crate) async fn given_up(
    host: &Machine,
    daemon: &Daemon,
    unit: &Unit,
) -> Result<Option<Failure>> {
    // What runs now may have been restarted often, long ago, and may speak of its licence without complaint.
    if unit.runs() || !unit.keeps_failing() {
        return Ok(None);
    }
    let name = daemon.unit();
    let words = unit.last_words(host, &name).await?;
    let lower = words.to_lowercase();
    if lower.contains("license") || lower.contains("licence") {
        let failure = Failure::new(
            Code::SlicerLicence,
            format!("Slicer does not start on {}", daemon.host),
        )
        .because(words);
        return Ok(Some(failure.hint(format!(
            "put the licence key at {LICENCE} on that host, or set licence-file in cluster.toml"
        ))));
    }
    // Each time five seconds later: whatever it waited for at boot would be there.
    if unit.restarts < 4 {
        return Ok(None);
    }
    let failure = Failure::new(
        Code::SlicerApi,
        format!(
            "{name} does not stay up on {}: it ended {} times",
            daemon.host, unit.restarts
        ),
    )
    .because(words);
    Ok(Some(failure.hint(daemon.look_at_journal()).permanent()))
}

/// The processes of an adopted daemon, its unit's included.
pub(crate) async fn hand_started(host: &Machine, own: &Adopted) -> Result<Vec<u32>> {
    let probe = Probe::SlicerUp {
        directory: own.directory.clone(),
        file: own.file.clone(),
    };
    let found = host.probe(&probe).await?;
    let ids = found
        .stdout
        .lines()
        .filter_map(|line| line.trim().parse().ok());
    Ok(ids.collect())
}

impl DaemonRunning {
    pub(crate) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
            since: Mutex::default(),
        }
    }

    /// Whether what runs now is no mere moment between two failures.
    fn stays_up(&self, unit: &Unit, phase: Phase) -> bool {
        if phase == Phase::Before || unit.restarts == 0 {
            return true;
        }
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match *since {
            Some((restarts, since)) if restarts == unit.restarts => since.elapsed() >= STABLE_FOR,
            _ => {
                *since = Some((unit.restarts, Instant::now()));
                false
            }
        }
    }

    fn unit_file(&self, world: &World) -> Result<Option<File>> {
        generate::daemon_unit(&world.plan, &self.daemon, &world.secrets.ssh_public_key)
    }
}

#[async_trait]
impl Step<World> for DaemonRunning {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DaemonRunning.on(&self.daemon.group),
            format!(
                "Run the daemon of {} on {}",
                self.daemon.group, self.daemon.host
            ),
            self.daemon.look_at_journal(),
        )
        .needs([StepName::DaemonConfig.on(&self.daemon.group)])
        .timeout(Duration::from_mins(4))
        .poll_interval(Duration::from_millis(300))
        .code(Code::SlicerApi)
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        if let Some(file) = self.unit_file(world)?
            && let Some(why) = file.differs(host).await?
        {
            return Ok(Finding::Differs(why));
        }
        let name = self.daemon.unit();
        let unit = Unit::look(host, &name).await?;
        if unit.runs() && unit.enabled() {
            return Ok(if self.stays_up(&unit, phase) {
                Finding::done()
            } else {
                Finding::Unknown(format!("it was started anew {} times", unit.restarts))
            });
        }
        if unit.enabled() && by_hand(host, &self.daemon).await? {
            let how = "started by hand; its unit starts it at the next boot";
            return Ok(Finding::Done(how.to_owned()));
        }
        if !unit.keeps_failing() {
            return Ok(Finding::differs(format!("{name} is not running")));
        }
        // What an earlier run left failing may be cured by what this one applies.
        if phase == Phase::After
            && let Some(failure) = given_up(host, &self.daemon, &unit).await?
        {
            return Err(failure);
        }
        let words = unit.last_words(host, &name).await?;
        Ok(Finding::differs(format!("{name} keeps failing: {words}")))
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let host = world.host(&self.daemon.host)?;
        diff::of_files(host, self.unit_file(world)?).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.daemon.host)?;
        let name = self.daemon.unit();
        if let Some(file) = self.unit_file(world)? {
            // Another cluster's run may have come in between.
            if self.daemon.adopted.is_none() {
                not_anothers(world, &self.daemon).await?;
            }
            file.write(host, permit).await?;
        }
        if by_hand(host, &self.daemon).await? {
            let enable = Script::new(
                "set -e; systemctl -q enable --no-reload {}; systemctl daemon-reload",
                &[&name],
            );
            return host
                .must(permit, "enabling the daemon's unit", &enable)
                .await
                .map(drop);
        }
        // `enable` would read all units by itself, a second time.
        // Two daemons that find no token at once each make one, and only the one that wrote last takes what is in the
        // file: the first of a host starts alone until its token is there.
        let [first, second, third] = TOKEN_PATHS;
        let start = Script::new(
            "set -e; systemctl -q enable --no-reload {}; systemctl daemon-reload; systemctl reset-failed {} 2>/dev/null || true
             begin() { systemctl start --no-block {}; }
             token() { cat {} {} {} 2>/dev/null | grep -q .; }
             if token; then begin; exit; fi
             exec 9>/run/slicer-k3s.lock; flock -w 30 9 || true
             begin; n=0; until token || [ $n -ge 100 ]; do sleep 0.1; n=$((n+1)); done",
            &[&name, &name, &name, first, second, third],
        )
        // A busy machine takes its time to read all its units again.
        .limit(Duration::from_secs(90));
        host.must(permit, "starting the daemon", &start)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::sha256;
    use crate::testing::{Fake, permit, plan, world};

    fn step() -> DaemonRunning {
        DaemonRunning::new(&plan().daemons[0])
    }

    #[tokio::test]
    async fn a_refused_licence_ends_the_wait() {
        let world = world(&[]);
        let unit = step().unit_file(&world).unwrap().unwrap();
        let facts = format!("644 0 0\n{}  -\n", sha256(unit.content.as_bytes()));
        let fake = Fake::new()
            .says("stat", &facts)
            .says("ActiveState", "ActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\nNRestarts=2\nInvocationID=a\n")
            .says("journalctl", &crate::remote::journal(&[("a", "Error: no valid license found")]));
        let world = crate::testing::world(&[("n100", &fake)]);
        let step = step();
        assert!(matches!(
            step.check(&world, Phase::Before).await.unwrap(),
            Finding::Differs(_)
        ));
        assert_eq!(
            step.check(&world, Phase::After).await.unwrap_err().code,
            Code::SlicerLicence
        );
    }

    /// An expired licence was told as a missing API token: the look fell on the instant of one more start.
    #[tokio::test(start_paused = true)]
    async fn a_moment_between_two_failures_is_no_run() {
        let world = world(&[]);
        let unit = step().unit_file(&world).unwrap().unwrap();
        let facts = format!("644 0 0\n{}  -\n", sha256(unit.content.as_bytes()));
        let runs = "ActiveState=active\nSubState=running\nUnitFileState=enabled\nNRestarts=2\n";
        let fake = Fake::new().says("stat", &facts).says("ActiveState", runs);
        let world = crate::testing::world(&[("n100", &fake)]);
        let step = step();
        let done =
            async |phase| matches!(step.check(&world, phase).await.unwrap(), Finding::Done(_));
        assert!(
            done(Phase::Before).await,
            "nothing was applied: it may have run for days"
        );
        assert!(!done(Phase::After).await);
        tokio::time::advance(STABLE_FOR).await;
        assert!(done(Phase::After).await);
    }

    /// Another cluster's first run had chosen the same group, and its unit was written over.
    #[tokio::test]
    async fn a_unit_of_another_cluster_is_not_written_over() {
        let theirs = "[Service]\nWorkingDirectory=/var/lib/slicer-k3s/away/k3s-cp\n";
        let fake = Fake::new()
            .says("cat -- /etc/systemd", theirs)
            .says("ActiveState", "ActiveState=inactive\n");
        let world = world(&[("n100", &fake)]);
        let failure = step().apply(&world, &permit()).await.unwrap_err();
        assert_eq!(failure.code, Code::HostConflict);
        assert!(!fake.was_told("mv -f") && !fake.was_told("systemctl start"));
    }

    /// On a host that never ran Slicer both daemons found no token, each made one, and one of the two refused all.
    #[tokio::test]
    async fn the_first_daemon_of_a_host_starts_alone_until_there_is_a_token() {
        let fake = Fake::new()
            .answers("cat -- /etc/systemd", 1, "")
            .says("ActiveState", "ActiveState=inactive\n");
        let world = world(&[("n100", &fake)]);
        step().apply(&world, &permit()).await.unwrap();
        let told = fake.told();
        let (start, _) = told
            .iter()
            .find(|(command, _)| command.contains("enable --no-reload slicer-k3s-cp.service"))
            .unwrap();
        let lock = start.find("flock").unwrap();
        let begins: Vec<usize> = start.match_indices("begin;").map(|(at, _)| at).collect();
        assert!(begins[0] < lock && lock < begins[1], "{start}");
        assert!(start.contains("cat /var/lib/slicer/auth/token"));
    }
}
