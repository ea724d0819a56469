//! A daemon runs with the configuration it should have, and starts at boot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::Options;
use super::difference;
use super::file::File;
use super::quorum::Turns;
use super::unit::{Unit, last_words, runs_with};
use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Daemon;
use crate::remote::{Machine, Script};
use crate::world::{TOKEN_PATHS, World};

pub(super) struct DaemonRunning {
    daemon: Daemon,
    allow_outage: bool,
    turns: Turns,
    applied: AtomicBool,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("daemon-running", group)
}

impl DaemonRunning {
    pub(super) fn new(daemon: &Daemon, options: &Options, turns: &Turns) -> Self {
        Self {
            daemon: daemon.clone(),
            allow_outage: options.allow_outage,
            turns: turns.clone(),
            applied: AtomicBool::new(false),
        }
    }

    fn unit_file(&self, world: &World) -> Result<File> {
        generate::daemon_unit(&world.plan, &self.daemon, &world.secrets.ssh_public_key)
    }

    /// Whether the running process has read another configuration than it should have.
    async fn outdated(&self, world: &World, host: &Machine) -> Result<bool> {
        let yaml = super::daemon_config::host_yaml(world, &self.daemon)?;
        Ok(!runs_with(host, &self.daemon.unit(), &yaml.content).await?)
    }

    /// A restart kills ephemeral VMs and reboots fixed ones: only where there are none, or where the person said so.
    async fn may_restart(&self, world: &World) -> Result<()> {
        if self.allow_outage {
            return Ok(());
        }
        let vms = match world.slicer(&self.daemon).await {
            Ok(slicer) => slicer.vms(&self.daemon.group).await,
            Err(failure) => Err(failure),
        };
        let why = match vms {
            Ok(vms) if vms.is_empty() => return Ok(()),
            Ok(vms) => format!("it would stop {} VMs", vms.len()),
            Err(failure) => format!("it is unknown whether it has VMs: {failure}"),
        };
        Err(Failure::new(
            Code::PlanConflict,
            format!(
                "{} on {} must restart to read its changed configuration",
                self.daemon.unit(),
                self.daemon.host
            ),
        )
        .because(why)
        .hint("drain its nodes and run again with --allow-outage"))
    }
}

#[async_trait]
impl Step for DaemonRunning {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!(
            "Run the daemon of {} on {}",
            self.daemon.group, self.daemon.host
        )
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::daemon_config::id(&self.daemon.group)]
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(4)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn code(&self) -> Code {
        Code::SlicerApi
    }

    fn hint(&self) -> String {
        self.daemon.look_at_journal()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        if let Some(why) = self.unit_file(world)?.differs(host).await? {
            return Ok(Finding::Differs(why));
        }
        let name = self.daemon.unit();
        let unit = Unit::look(host, &name).await?;
        if unit.runs() && unit.enabled() {
            return Ok(if self.outdated(world, host).await? {
                Finding::differs("it runs with an older configuration")
            } else {
                Finding::done()
            });
        }
        if !unit.keeps_failing() {
            return Ok(Finding::differs(format!("{name} is not running")));
        }
        let words = last_words(host, &name).await?;
        let lower = words.to_lowercase();
        // What an earlier run left failing may be cured by what this one applies.
        if self.applied.load(Ordering::Relaxed)
            && (lower.contains("license") || lower.contains("licence"))
        {
            return Err(Failure::new(
                Code::SlicerLicence,
                format!("Slicer does not start on {}", self.daemon.host),
            )
            .because(words)
            .hint("put the licence key at ~/.slicer/LICENSE on that host, or set licence-file in cluster.toml"));
        }
        // Each time five seconds later: whatever it waited for at boot would be there.
        if self.applied.load(Ordering::Relaxed) && unit.restarts >= 4 {
            return Err(Failure::new(
                Code::SlicerApi,
                format!(
                    "{name} does not stay up on {}: it ended {} times",
                    self.daemon.host, unit.restarts
                ),
            )
            .because(words)
            .hint(self.hint())
            .lasting());
        }
        Ok(Finding::differs(format!("{name} keeps failing: {words}")))
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let host = world.host(&self.daemon.host)?;
        difference::of_files(host, [self.unit_file(world)?]).await
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let host = world.host(&self.daemon.host)?;
        let name = self.daemon.unit();
        let running = Unit::look(host, &name).await?.runs();
        let file = self.unit_file(world)?;
        let changed = running && self.outdated(world, host).await?;
        if changed {
            self.may_restart(world).await?;
        }
        let turn = if changed {
            self.turns.take_for(world, &self.daemon).await?
        } else {
            None
        };
        file.write(host, hands).await?;
        let verb = if changed { "restart" } else { "start" };
        // Two daemons that find no token at once each make one, and only the one that wrote last takes what is in the
        // file: the first of a host starts alone until its token is there.
        let [first, second, third] = TOKEN_PATHS;
        let start = Script::new(
            "set -e; systemctl daemon-reload; systemctl -q enable {}; systemctl reset-failed {} 2>/dev/null || true
             begin() { systemctl {} --no-block {}; }
             token() { cat {} {} {} 2>/dev/null | grep -q .; }
             if token; then begin; exit; fi
             exec 9>/run/slicer-k3s.lock; flock -w 30 9 || true
             begin; n=0; until token || [ $n -ge 100 ]; do sleep 0.1; n=$((n+1)); done",
            &[&name, &name, verb, &name, first, second, third],
        )
        // A busy machine takes its time to read all its units again.
        .limit(Duration::from_secs(90));
        host.must(hands, "starting the daemon", &start).await?;
        self.applied.store(true, Ordering::Relaxed);
        match turn {
            Some(turn) => {
                let yaml = super::daemon_config::host_yaml(world, &self.daemon)?;
                turn.end(world, host, &name, &yaml.content).await
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::secret::sha256;
    use crate::steps::testing::{Fake, plan, world};

    const RUNS: &str = "ActiveState=active\nSubState=running\nUnitFileState=enabled\n";

    fn step(allow_outage: bool) -> DaemonRunning {
        DaemonRunning {
            daemon: plan().daemons[0].clone(),
            allow_outage,
            turns: Turns::default(),
            applied: AtomicBool::new(false),
        }
    }

    /// Restarting a daemon reboots its servers: never by the way.
    #[tokio::test]
    async fn a_changed_configuration_restarts_only_with_permission() {
        let wanted = super::super::daemon_config::host_yaml(&world(&[]), &step(true).daemon);
        let fake = Fake::new()
            .says_first("environ", "0ld\n")
            .says_first("environ", "0ld\n")
            .says("environ", &sha256(wanted.unwrap().content.as_bytes()))
            .says("ActiveState", RUNS);
        let result = step(false)
            .apply(&world(&[("n100", &fake)]), &hands())
            .await;
        assert_eq!(result.unwrap_err().code, Code::PlanConflict);
        assert!(!fake.was_told("systemctl restart") && !fake.was_told("mv -f"));
        step(true)
            .apply(&world(&[("n100", &fake)]), &hands())
            .await
            .unwrap();
        assert!(fake.was_told("systemctl restart --no-block slicer-k3s-cp.service"));
    }

    #[tokio::test]
    async fn a_refused_licence_ends_the_wait() {
        let world = world(&[]);
        let unit = step(false).unit_file(&world).unwrap();
        let facts = format!("644 0 0\n{}  -\n", sha256(unit.content.as_bytes()));
        let fake = Fake::new()
            .says("stat", &facts)
            .says("ActiveState", "ActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\nNRestarts=2\n")
            .says("journalctl", "Error: no valid license found\n");
        let world = crate::steps::testing::world(&[("n100", &fake)]);
        let step = step(false);
        assert!(matches!(
            step.check(&world).await.unwrap(),
            Finding::Differs(_)
        ));
        step.applied.store(true, Ordering::Relaxed);
        assert_eq!(
            step.check(&world).await.unwrap_err().code,
            Code::SlicerLicence
        );
    }

    /// On a host that never ran Slicer both daemons found no token, each made one, and one of the two refused all.
    #[tokio::test]
    async fn the_first_daemon_of_a_host_starts_alone_until_there_is_a_token() {
        let fake = Fake::new().says("ActiveState", "ActiveState=inactive\n");
        let world = world(&[("n100", &fake)]);
        step(false).apply(&world, &hands()).await.unwrap();
        let told = fake.told();
        let (start, _) = told
            .iter()
            .find(|(command, _)| command.contains("enable slicer-k3s-cp.service"))
            .unwrap();
        let lock = start.find("flock").unwrap();
        let begins: Vec<usize> = start.match_indices("begin;").map(|(at, _)| at).collect();
        assert!(begins[0] < lock && lock < begins[1], "{start}");
        assert!(start.contains("cat /var/lib/slicer/auth/token"));
    }
}
