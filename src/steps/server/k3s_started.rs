//! k3s runs on a server and its own API answers; servers after the first wait for the first one's.

use std::time::Duration;

use async_trait::async_trait;

use crate::control_plane::{self, ControlPlane, Start};
use crate::failure::{Code, Failure, Result};
use crate::k3s::Told;
use crate::kubernetes::Kubernetes;
use crate::names::k3s::UNIT;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Plan, Server};
use crate::remote::{Machine, Probe, Script};
use crate::step_id::{StepId, StepName};
use crate::steps::restart::has_read::Process;
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::server::data_set_aside::{Aside, set_aside};
use crate::steps::server::old_node_removed::OldNodeRemoved;
use crate::steps::server::parts::k3s_troubles::{Troubles, is_removed};
use crate::steps::server::vm_path::VmPath;
use crate::steps::support::unit::{ACTIVE, Unit};
use crate::world::World;

/// So many ends for reasons that we do not know, five seconds apart, are no hiccup of a start.
const LOOP: u32 = 8;

pub(crate) struct K3sStarted {
    server: Server,
    /// The server that it joins, where it has no data.
    via: Option<String>,
    needs: Vec<StepId>,
    /// Whether it may stop where no other server would be left.
    may_stop: bool,
    /// Whether it has data and never voted: then it may begin again.
    newcomer: bool,
    turns: RollingRestart,
    troubles: Troubles,
}

/// The first server's step: once it holds, the first server has the tokens as they are recorded.
pub(crate) fn first_started(plan: &Plan) -> Vec<StepId> {
    plan.servers_here()
        .take(1)
        .map(|server| StepName::K3sStarted.on(&server.name))
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

/// The refusal of a restart of these servers that costs more than their turn, and was not allowed.
pub(crate) fn refusal(servers: &str, cost: &str) -> Failure {
    let what = format!("k3s on {servers} must restart to read its changed configuration");
    Failure::new(Code::Outage, what)
        .because(cost)
        .hint("slicer-k3s init --allow-outage")
}

/// Whether k3s runs on this server and has not read its current configuration, so that a run restarts it. One that was removed
/// from the cluster serves no one, and its restart takes nothing away.
pub(crate) async fn restarts(world: &World, server: &Server) -> Result<bool> {
    let machine = world.server(server).await?;
    let (unit, unread, removed) = tokio::try_join!(
        Unit::look(machine, UNIT),
        Process::Server(server).unread(world, machine),
        is_removed(machine)
    )?;
    Ok(unit.active == ACTIVE && !removed && unread.is_some())
}

fn is_cut_short(told: &Told) -> bool {
    told.trouble.is_some_and(|trouble| trouble.is_cut_short())
}

impl K3sStarted {
    pub(crate) fn new(
        plan: &Plan,
        server: &Server,
        may_stop: bool,
        turns: &RollingRestart,
        control_plane: &ControlPlane,
    ) -> Self {
        let mut needs = vec![StepName::K3sInstalled.on(&server.name)];
        // The way to the servers before it, where they are on other hosts.
        needs.extend(VmPath::new(plan, server).map(|path| path.id()));
        needs.extend(OldNodeRemoved::new(plan, server, control_plane).map(|step| step.id()));
        let via = via(plan, server, control_plane);
        needs.extend(via.as_deref().map(|server| StepName::K3sStarted.on(server)));
        Self {
            server: server.clone(),
            via,
            needs,
            may_stop,
            newcomer: control_plane.newcomers.contains(&server.name),
            turns: turns.clone(),
            troubles: Troubles::default(),
        }
    }

    /// What the running process has read otherwise than it should have.
    async fn unread(&self, world: &World, machine: &Machine) -> Result<Option<String>> {
        Process::Server(&self.server).unread(world, machine).await
    }

    /// Whether it is starting with another configuration than the one that was written since: `start` would do nothing.
    async fn starts_with_another(
        &self,
        world: &World,
        machine: &Machine,
        unit: &Unit,
    ) -> Result<bool> {
        if unit.active != "activating" {
            return Ok(false);
        }
        let said = machine
            .probe(&Probe::RunningConfig(UNIT.to_owned()))
            .await?;
        // Before its process runs nothing has been read.
        let has_read = said.ok() && !said.stdout.trim().is_empty();
        Ok(has_read && self.unread(world, machine).await?.is_some())
    }

    /// Why its API is not ready, by what k3s or systemd says; an error where waiting cannot help.
    async fn explained(
        &self,
        world: &World,
        machine: &Machine,
        unit: &Unit,
        why: &str,
        phase: Phase,
    ) -> Result<Finding> {
        let told = self.troubles.of(machine, unit).await?;
        let ended = told.as_ref().is_some_and(|told| told.ended);
        if !ended && is_removed(machine).await? {
            let why = "it was removed from the cluster, and runs on without etcd";
            return Ok(Finding::differs(why));
        }
        // What an earlier run left failing may be cured by what this one applies.
        let applied = phase == Phase::After;
        let failure = |what: &str| {
            let what = format!("k3s {what} on {}", self.server.name);
            Failure::new(Code::K3sStart, what).permanent()
        };
        let words = told.as_ref().map(|told| told.words.clone());
        let words = words.unwrap_or_else(|| "k3s does not say why".to_owned());
        let cut_short = told.as_ref().is_some_and(is_cut_short);
        if self.newcomer && !applied && cut_short {
            return Ok(Finding::differs("its first start was cut short"));
        }
        if let Some(trouble) = told.and_then(|told| told.trouble) {
            let rotating = world.secrets.retired.server.is_some();
            let hint = trouble.hint_for(&self.server.name, &self.other(world), rotating);
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
        if unit.active == ACTIVE {
            return Ok(Finding::Unknown(format!(
                "its API does not answer yet: {why}"
            )));
        }
        if applied && unit.restarts >= LOOP {
            return Err(failure("does not stay up")
                .because(format!("it ended {} times: {words}", unit.restarts))
                .hint(self.meta().hint));
        }
        Ok(Finding::Unknown(match unit.ends() {
            0 => format!("its API does not answer yet: {why}"),
            1 => format!("it ended once and starts again: {words}"),
            ends => format!("it ended {ends} times and starts again: {words}"),
        }))
    }

    /// A first start that ended before its cluster's data were written can only begin again, with an empty directory.
    async fn begin_again(
        &self,
        machine: &Machine,
        permit: &WritePermit,
        unit: &Unit,
    ) -> Result<()> {
        if !self.newcomer || unit.active == ACTIVE {
            return Ok(());
        }
        let told = self.troubles.of(machine, unit).await?;
        if !told.as_ref().is_some_and(is_cut_short) {
            return Ok(());
        }
        if control_plane::ask(machine).await?.has_hardly_begun() {
            set_aside(machine, permit, Aside::FirstStart).await?;
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
impl Step<World> for K3sStarted {
    fn meta(&self) -> Meta {
        let title = match &self.via {
            None => format!("Start k3s on {}", self.server.name),
            Some(via) => format!("Join {} to {via}", self.server.name),
        };
        Meta::new(
            StepName::K3sStarted.on(&self.server.name),
            title,
            format!("on {}: sudo journalctl -u k3s -n 50", self.server.name),
        )
        .needs(self.needs.clone())
        .timeout(Duration::from_mins(5))
        .poll_interval(Duration::from_millis(300))
        .code(Code::K3sStart)
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        let unit = Unit::look(machine, UNIT).await?;
        if !matches!(unit.active.as_str(), ACTIVE | "activating" | "reloading") {
            return Ok(Finding::differs("k3s is not started"));
        }
        let kubernetes = Kubernetes::on(machine.clone());
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
        self.explained(world, machine, &unit, &why, phase).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = world.server(&self.server).await?;
        let unit = Unit::look(machine, UNIT).await?;
        self.begin_again(machine, permit, &unit).await?;
        // Without etcd it serves nobody: its restart takes nothing away.
        let removed = is_removed(machine).await?;
        let outdated =
            !removed && unit.active == ACTIVE && self.unread(world, machine).await?.is_some();
        if outdated && !self.may_stop && world.plan.servers.len() < 2 {
            let cost = "it is the only server: the API stops meanwhile";
            return Err(refusal(&self.server.name, cost));
        }
        let turn = if outdated {
            let leaving = std::slice::from_ref(&self.server);
            Some(self.turns.take(world, leaving).await?)
        } else {
            None
        };
        // A start that is under way is left alone; one that fails again and again gets a fresh count. One that runs had its
        // ends before, and goes down in a turn only.
        let fails = unit.restarts > 0 && unit.active != ACTIVE;
        // Nobody relies on one that only starts.
        let stale = self.starts_with_another(world, machine, &unit).await?;
        let verb = if outdated || fails || removed || stale {
            "restart"
        } else {
            "start"
        };
        // Never blocking: systemd would wait for readiness without a limit.
        let script = Script::new(
            "systemctl daemon-reload; systemctl reset-failed k3s 2>/dev/null; systemctl {} --no-block k3s",
            &[verb],
        );
        machine.must(permit, "starting k3s", &script).await?;
        self.troubles.forget();
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
mod tests;
