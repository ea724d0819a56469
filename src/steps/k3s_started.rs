//! k3s runs on a server and its own API answers; servers after the first wait for the first one's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::Options;
use super::data_set_aside::set_aside;
use super::has_read::Process;
use super::k3s_troubles::{Troubles, is_removed};
use super::old_node_removed::OldNodeRemoved;
use super::quorum::Turns;
use super::unit::Unit;
use super::vm_path::VmPath;
use crate::control_plane::{self, ControlPlane, Start};
use crate::failure::{Code, Failure, Result};
use crate::k3s::{Told, UNIT};
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Plan, Server};
use crate::remote::{Machine, Script};
use crate::world::World;

/// So many ends for reasons that we do not know, five seconds apart, are no hiccup of a start.
const LOOP: u32 = 8;

pub(super) struct K3sStarted {
    server: Server,
    /// The server that it joins, where it has no data.
    via: Option<String>,
    needs: Vec<StepId>,
    allow_outage: bool,
    /// Whether it has data and never voted: then it may begin again.
    newcomer: bool,
    turns: Turns,
    troubles: Troubles,
    applied: AtomicBool,
}

pub(super) fn id(server: &str) -> StepId {
    StepId::new("k3s-started", server)
}

/// The step that tells whether the cluster's API can be had at all.
pub(super) fn first_api(plan: &Plan) -> Vec<StepId> {
    plan.servers_here()
        .take(1)
        .map(|server| id(&server.name))
        .collect()
}

/// The server whose API has to answer before this one starts: the one that it joins. One that has data waits for nobody,
/// or none of them would come back after all were off.
fn via(plan: &Plan, server: &Server, control_plane: &ControlPlane) -> Option<String> {
    match control_plane.start(&server.name) {
        Start::Join { via, .. } => Some(via.clone()),
        // It will found the cluster, or join whoever does.
        Start::Undecided if plan.founded.is_none() => {
            let first = plan.servers_here().next().map(|first| first.name.clone());
            first.filter(|first| *first != server.name)
        }
        Start::Undecided | Start::Member | Start::Found => None,
    }
}

fn is_cut_short(told: &Told) -> bool {
    told.trouble.is_some_and(|trouble| trouble.is_cut_short())
}

impl K3sStarted {
    pub(super) fn new(
        plan: &Plan,
        server: &Server,
        options: &Options,
        turns: &Turns,
        control_plane: &ControlPlane,
    ) -> Self {
        let mut needs = vec![super::k3s_installed::id(&server.name)];
        // The way to the servers before it, where they are on other hosts.
        needs.extend(VmPath::new(plan, server).map(|path| path.id()));
        needs.extend(OldNodeRemoved::new(plan, server, control_plane).map(|step| step.id()));
        let via = via(plan, server, control_plane);
        needs.extend(via.as_deref().map(id));
        Self {
            server: server.clone(),
            via,
            needs,
            allow_outage: options.allow_outage,
            newcomer: control_plane.newcomers.contains(&server.name),
            turns: turns.clone(),
            troubles: Troubles::default(),
            applied: AtomicBool::new(false),
        }
    }

    /// What the running process has read otherwise than it should have.
    async fn unread(&self, world: &World, machine: &Machine) -> Result<Option<String>> {
        Process::Server(&self.server).unread(world, machine).await
    }

    /// Why its API is not ready, by what k3s or systemd says; an error where waiting cannot help.
    async fn explained(
        &self,
        world: &World,
        machine: &Machine,
        unit: &Unit,
        why: &str,
    ) -> Result<Finding> {
        let told = self.troubles.of(machine, unit).await?;
        let ended = told.as_ref().is_some_and(|told| told.ended);
        if !ended && is_removed(machine).await? {
            let why = "it was removed from the cluster, and runs on without etcd";
            return Ok(Finding::differs(why));
        }
        // What an earlier run left failing may be cured by what this one applies.
        let applied = self.applied.load(Ordering::Relaxed);
        let failure = |what: &str| {
            let what = format!("k3s {what} on {}", self.server.name);
            Failure::new(Code::K3sStart, what).lasting()
        };
        let words = told.as_ref().map(|told| told.words.clone());
        let words = words.unwrap_or_else(|| "k3s does not say why".to_owned());
        let cut_short = told.as_ref().is_some_and(is_cut_short);
        if self.newcomer && !applied && cut_short {
            return Ok(Finding::differs("its first start was cut short"));
        }
        if let Some(trouble) = told.and_then(|told| told.trouble) {
            let hint = trouble.hint_for(&self.server.name, &self.other(world));
            if applied && !trouble.passes {
                return Err(failure("does not start")
                    .because(format!("{} ({words})", trouble.cause))
                    .hint(hint));
            }
            return Ok(Finding::Unknown(if ended && !trouble.passes {
                format!("{} ({words}); {hint}", trouble.cause)
            } else {
                format!("{}; {hint}", trouble.cause)
            }));
        }
        if unit.active == "active" {
            return Ok(Finding::Unknown(format!(
                "its API does not answer yet: {why}"
            )));
        }
        if applied && unit.restarts >= LOOP {
            return Err(failure("does not stay up")
                .because(format!("it ended {} times: {words}", unit.restarts))
                .hint(self.hint()));
        }
        Ok(Finding::Unknown(match unit.ends() {
            0 => format!("its API does not answer yet: {why}"),
            1 => format!("it ended once and starts again: {words}"),
            ends => format!("it ended {ends} times and starts again: {words}"),
        }))
    }

    /// A first start that ended before its cluster's data were written can only begin again, with an empty directory.
    async fn begin_again(&self, machine: &Machine, hands: &Hands, unit: &Unit) -> Result<()> {
        if !self.newcomer || unit.active == "active" {
            return Ok(());
        }
        let told = self.troubles.of(machine, unit).await?;
        if !told.as_ref().is_some_and(is_cut_short) {
            return Ok(());
        }
        if control_plane::ask(machine).await?.has_hardly_begun() {
            set_aside(machine, hands, false).await?;
        }
        Ok(())
    }

    /// The address of another server.
    fn other(&self, world: &World) -> String {
        let mut servers = world.plan.servers.iter();
        let other = servers.find(|server| server.name != self.server.name);
        other.map_or_else(String::new, |other| other.address.to_string())
    }
}

#[async_trait]
impl Step for K3sStarted {
    fn id(&self) -> StepId {
        id(&self.server.name)
    }

    fn title(&self) -> String {
        match &self.via {
            None => format!("Start k3s on {}", self.server.name),
            Some(via) => format!("Join {} to {via}", self.server.name),
        }
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(5)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn code(&self) -> Code {
        Code::K3sStart
    }

    fn hint(&self) -> String {
        format!("on {}: sudo journalctl -u k3s -n 50", self.server.name)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        let unit = Unit::look(machine, UNIT).await?;
        if !matches!(unit.active.as_str(), "active" | "activating" | "reloading") {
            return Ok(Finding::differs("k3s is not started"));
        }
        let kubernetes = Kubernetes {
            server: machine.clone(),
        };
        let why = match kubernetes.ready().await? {
            Ok(()) => {
                return Ok(match self.unread(world, machine).await? {
                    Some(what) => {
                        Finding::differs(format!("k3s runs with an older value of {what}"))
                    }
                    None => Finding::done(),
                });
            }
            Err(why) => why,
        };
        self.explained(world, machine, &unit, &why).await
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let machine = world.server(&self.server).await?;
        let unit = Unit::look(machine, UNIT).await?;
        self.begin_again(machine, hands, &unit).await?;
        // Without etcd it serves nobody: its restart takes nothing away.
        let removed = is_removed(machine).await?;
        let outdated =
            !removed && unit.active == "active" && self.unread(world, machine).await?.is_some();
        if outdated && !self.allow_outage {
            return Err(Failure::new(
                Code::PlanConflict,
                format!(
                    "k3s on {} must restart to read its changed configuration",
                    self.server.name
                ),
            )
            .hint("run again with --allow-outage"));
        }
        let turn = if outdated {
            let leaving = std::slice::from_ref(&self.server);
            Some(self.turns.take(world, leaving).await?)
        } else {
            None
        };
        // A start that is under way is left alone; one that fails again and again gets a fresh count.
        let verb = if outdated || unit.restarts > 0 || removed {
            "restart"
        } else {
            "start"
        };
        // Never blocking: systemd would wait for readiness without a limit.
        let script = Script::new(
            "systemctl daemon-reload; systemctl reset-failed k3s 2>/dev/null; systemctl {} --no-block k3s",
            &[verb],
        );
        machine.must(hands, "starting k3s", &script).await?;
        self.troubles.forget();
        self.applied.store(true, Ordering::Relaxed);
        match turn {
            Some(turn) => {
                turn.end(world, machine, Process::Server(&self.server))
                    .await
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

    fn step() -> K3sStarted {
        K3sStarted {
            server: plan().servers[1].clone(),
            via: Some("k3s-cp-1".into()),
            needs: Vec::new(),
            allow_outage: false,
            newcomer: false,
            turns: Turns::default(),
            troubles: Troubles::default(),
            applied: AtomicBool::new(false),
        }
    }

    fn failing(state: &str, journal: &[(&str, &str)]) -> Fake {
        Fake::new()
            .says("ActiveState", state)
            .answers("readyz", 1, "")
            .says("journalctl", &crate::remote::journal(journal))
    }

    const ENDED: &str = "ActiveState=activating\nSubState=auto-restart\nNRestarts=1\nInvocationID=b\nResult=exit-code\nExecMainStatus=1\n";
    const STARTS: &str = "ActiveState=activating\nSubState=start\nNRestarts=0\nInvocationID=b\n";
    const RUNS: &str = "ActiveState=active\nSubState=running\nNRestarts=0\nInvocationID=b\n";
    const MODPROBE: &str = "modprobe: FATAL: Module overlay not found in directory /lib/modules/6";
    const MISMATCH: &str = r#"time="x" level=fatal msg="Error: critical configuration value mismatch between servers""#;
    const LEARNERS: &str = r#"time="x" level=info msg="Waiting for other members to finish joining etcd cluster: etcdserver: too many learner members in cluster""#;

    async fn why(fake: &Fake) -> String {
        match step().check(&world(&[("k3s-cp-2", fake)])).await.unwrap() {
            Finding::Unknown(why) | Finding::Differs(why) => why,
            Finding::Done(note) => panic!("{note}"),
        }
    }

    /// A mistake that waiting cannot cure must not cost five minutes, nor stop a run that is about to cure it.
    #[tokio::test]
    async fn a_lasting_trouble_ends_the_wait_only_after_we_started_it() {
        let fake = failing(ENDED, &[("b", MISMATCH), ("b", MODPROBE)]);
        let world = world(&[("k3s-cp-2", &fake)]);
        let step = step();
        assert!(matches!(
            step.check(&world).await.unwrap(),
            Finding::Unknown(_)
        ));
        step.apply(&world, &hands()).await.unwrap();
        assert!(fake.was_told("systemctl restart --no-block k3s"));
        let failure = step.check(&world).await.unwrap_err();
        assert!(failure.is_lasting() && failure.hint.is_some(), "{failure}");
    }

    /// It would end of this for ever. One that was a member keeps what it has, whatever its journal says.
    #[tokio::test]
    async fn a_first_start_that_was_cut_short_begins_again_and_a_members_never() {
        let fatal = r#"time="x" level=fatal msg="Error: preparing server: failed to reconcile with local datastore: no bootstrap data found in datastore - check server token value and verify datastore integrity""#;
        let young = "data=yes\nbytes=20480\nmembers=\nend\n";
        let grown = "data=yes\nbytes=4000000\nmembers=\nend\n";
        for (newcomer, held, again) in [
            (true, young, true),
            (true, grown, false),
            (false, young, false),
        ] {
            let fake = failing(ENDED, &[("b", fatal)]).says_first("member/wal", held);
            let world = world(&[("k3s-cp-2", &fake)]);
            let step = K3sStarted { newcomer, ..step() };
            let found = step.check(&world).await.unwrap();
            assert_eq!(matches!(found, Finding::Differs(_)), newcomer, "{found:?}");
            step.apply(&world, &hands()).await.unwrap();
            assert_eq!(fake.was_told("etcd-old-"), again, "{held}");
        }
    }

    /// k3s waits for the others without ending: systemd has nothing to count.
    #[tokio::test]
    async fn a_learner_queue_is_the_reason_of_the_wait() {
        let fake = failing(STARTS, &[("a", MISMATCH), ("b", LEARNERS)]);
        let step = step();
        step.applied.store(true, Ordering::Relaxed);
        let found = step.check(&world(&[("k3s-cp-2", &fake)])).await.unwrap();
        assert!(matches!(found, Finding::Unknown(why) if why.contains("one in at a time")));
    }

    /// Neither what `ExecStartPre` prints nor what systemd says of the unit, and never an earlier run's end.
    #[tokio::test]
    async fn a_k3s_that_ended_is_told_by_its_own_last_message() {
        let fatal = r#"time="x" level=fatal msg="Error: \"x\" is broken""#;
        let lines = [("a", MISMATCH), ("b", MODPROBE), ("b", fatal), ("b", "x")];
        let told = why(&failing(ENDED, &lines)).await;
        assert_eq!(
            told,
            "it ended 2 times and starts again: Error: \"x\" is broken"
        );
        // The next start has begun and says nothing yet, or only noise.
        let next = ENDED
            .replace("auto-restart", "start")
            .replace("NRestarts=1", "NRestarts=2")
            .replace("InvocationID=b", "InvocationID=c");
        for more in [vec![], vec![("c", MODPROBE)]] {
            let lines = [lines.to_vec(), more].concat();
            let told = why(&failing(&next, &lines)).await;
            assert_eq!(
                told,
                "it ended 2 times and starts again: Error: \"x\" is broken"
            );
        }
        // It was killed while it waited for others.
        let killed = ENDED
            .replace("exit-code", "oom-kill")
            .replace("NRestarts=1", "NRestarts=0");
        let told = why(&failing(&killed, &[("a", fatal), ("b", LEARNERS)])).await;
        assert_eq!(
            told,
            "it ended once and starts again: the kernel killed it, as memory ran out"
        );
    }

    /// It is active, so that `start` would do nothing.
    #[tokio::test]
    async fn a_server_that_was_removed_while_it_ran_is_restarted() {
        let fake = failing(RUNS, &[]).says("db/etcd/tombstone", "600 0 0\ne3b0  -\n");
        let world = world(&[("k3s-cp-2", &fake)]);
        let found = step().check(&world).await.unwrap();
        assert!(matches!(found, Finding::Differs(why) if why.contains("removed")));
        step().apply(&world, &hands()).await.unwrap();
        assert!(fake.was_told("systemctl restart --no-block k3s"));
        // Where it cannot rejoin, that is what counts.
        let fatal = r#"time="x" level=fatal msg="Error: starting kubernetes: preparing server: tombstone file has been detected but --server is empty: backup and delete""#;
        let fake = failing(ENDED, &[("b", fatal)]).says("db/etcd/tombstone", "600 0 0\n");
        assert!(why(&fake).await.contains("names no server to rejoin"));
    }

    /// A Status, as k3s answers curl while it starts, ends with a brace.
    #[tokio::test]
    async fn an_api_that_starts_is_told_by_its_message() {
        let status = "{\n  \"kind\": \"Status\",\n  \"status\": \"Failure\",\n  \"message\": \"apiserver not ready\",\n  \"code\": 503\n}";
        let fake = Fake::new()
            .says("ActiveState", STARTS)
            .says("readyz", status);
        assert_eq!(
            why(&fake).await,
            "its API does not answer yet: apiserver not ready"
        );
    }
}
