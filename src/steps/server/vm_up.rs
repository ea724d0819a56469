//! A server's VM is there, at its planned address, with an agent that answers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::control_plane::ControlPlane;
use crate::failure::{Code, Failure, Result};
use crate::names::slicer::console_log;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan, Role, Server};
use crate::remote::Script;
use crate::slicer::Slicer;
use crate::step_id::{StepId, StepName};
use crate::steps::group::agents_drained::AgentsDrained;
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::{Options, restart};
use crate::vm::Vm;
use crate::world::World;

/// A VM that runs and whose agent is silent for so long hangs in its boot; what takes longer is the pull of the image,
/// before it runs.
const BOOT: Duration = Duration::from_mins(3);

pub(crate) struct VmUp {
    server: Server,
    after: Vec<StepId>,
    /// Whether its disk is gone, so that Slicer has to make a new one.
    without_disk: bool,
    allow_outage: bool,
    /// The agents of its daemon, who end where that restarts for a disk.
    agents: Vec<AgentsDrained>,
    turns: RollingRestart,
    /// Since when it has been seen to run.
    runs: Mutex<Option<Instant>>,
}

/// The refusal of a restart that makes a server's disk, and was not allowed.
pub(crate) fn refusal(daemon: &Daemon, server: &Server, cost: &str) -> Failure {
    let what = format!(
        "{} on {} must restart to make a new disk for {}",
        daemon.unit(),
        server.host,
        server.name
    );
    Failure::new(Code::Outage, what)
        .because(cost)
        .hint("slicer-k3s init --allow-outage")
}

/// Whether the agents of this group may end for a server's new disk: their daemon may have to restart to make it.
pub(crate) fn may_end(
    plan: &Plan,
    options: &Options,
    control_plane: &ControlPlane,
    daemon: &Daemon,
) -> bool {
    let mut lost = plan.servers_here();
    options.allow_outage
        && daemon.role == Role::Workers
        && lost.any(|server| {
            server.group == daemon.carrier() && control_plane.without_disk.contains(&server.name)
        })
}

/// The steps that may drain such agents, in which the autoscaler is stopped.
pub(crate) fn drains(plan: &Plan, options: &Options, control_plane: &ControlPlane) -> Vec<StepId> {
    let mut workers = plan.workers();
    if !workers.any(|daemon| may_end(plan, options, control_plane, daemon)) {
        return Vec::new();
    }
    control_plane
        .without_disk
        .iter()
        .map(|server| StepName::VmUp.on(server))
        .collect()
}

/// What a restart that makes a disk costs the groups of a daemon: servers reboot, agents end. `None` where it costs nothing.
pub(crate) async fn cost(plan: &Plan, slicer: &Slicer, daemon: &Daemon) -> Result<Option<String>> {
    let (mut servers, mut agents) = (Vec::new(), Vec::new());
    for group in plan.carried(daemon) {
        let vms = slicer.vms(&group.group).await?.into_iter();
        match group.role {
            Role::ControlPlane => {
                servers.extend(vms.filter(Vm::runs).map(|vm| vm.hostname));
            }
            Role::Workers => agents.extend(vms.map(|vm| vm.hostname)),
        }
    }
    let costs = [("reboots", servers), ("ends the agents", agents)];
    let costs = costs.iter().filter(|(_, vms)| !vms.is_empty());
    let costs: Vec<String> = costs
        .map(|(what, vms)| format!("{what} {}", vms.join(", ")))
        .collect();
    Ok((!costs.is_empty()).then(|| costs.join(", and ")))
}

impl VmUp {
    pub(crate) fn new(
        plan: &Plan,
        server: &Server,
        options: &Options,
        turns: &RollingRestart,
        control_plane: &ControlPlane,
    ) -> Self {
        let without_disk = control_plane.without_disk.contains(&server.name);
        // A new disk may take a restart of the daemon, which reboots the group's other servers: what is to be done on them
        // comes after it, and one such restart after the other.
        let others = plan
            .servers_here()
            .take_while(|other| !without_disk || other.name != server.name)
            .filter(|other| other.name != server.name && other.group == server.group)
            .filter(|other| control_plane.without_disk.contains(&other.name));
        Self {
            server: server.clone(),
            after: others.map(|other| StepName::VmUp.on(&other.name)).collect(),
            without_disk,
            allow_outage: options.allow_outage,
            agents: plan
                .workers()
                .filter(|group| without_disk && group.carrier() == server.group)
                .map(|group| AgentsDrained::for_a_disk(group, options))
                .collect(),
            turns: turns.clone(),
            runs: Mutex::new(None),
        }
    }

    async fn slicer(&self, world: &World) -> Result<Slicer> {
        let daemon = world.plan.daemon(&self.server.group).ok_or_else(|| {
            Failure::new(
                Code::Vm,
                format!("{} has no group in the plan", self.server.name),
            )
            .permanent()
        })?;
        world.slicer(daemon).await
    }

    async fn vm(&self, slicer: &Slicer) -> Result<Option<Vm>> {
        let vms = slicer.vms(&self.server.group).await?;
        Ok(vms.into_iter().find(|vm| vm.hostname == self.server.name))
    }

    /// For how long it has been seen to run.
    fn runs_for(&self) -> Duration {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get_or_insert_with(Instant::now).elapsed()
    }

    /// A VM that does not come up, with its console's last line.
    async fn silent(&self, world: &World) -> Failure {
        let words = self.diagnose(world).await;
        let words = words.unwrap_or_else(|| "its console shows nothing".into());
        let (vm, host) = (&self.server.name, &self.server.host);
        Failure::new(Code::Vm, format!("{vm} on {host} does not come up"))
            .because(format!(
                "it runs, and its agent has not answered for {} s; its console's last line: {words}",
                BOOT.as_secs()
            ))
            .hint(format!(
                // Slicer refuses to delete what its YAML counts (403); what has stopped is relaunched by the next run.
                "{}; to boot it anew: sudo slicer vm shutdown {vm}, then run again; where that does not stop it: sudo \
                 systemctl restart slicer-{} (boots all of its servers{})",
                self.meta().hint,
                self.server.group,
                self.ends_agents(world)
            ))
            .permanent()
    }
}

#[async_trait]
impl Step<World> for VmUp {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::VmUp.on(&self.server.name),
            format!("Boot {}", self.server.name),
            format!(
                "on {}: sudo tail -n 40 {}",
                self.server.host,
                console_log(&self.server.name)
            ),
        )
        .needs([StepName::DaemonAnswers.on(&self.server.group)])
        .after(self.after.clone())
        // The first start pulls the image.
        .timeout(Duration::from_mins(10))
        .poll_interval(Duration::from_millis(250))
        .code(Code::Vm)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let slicer = self.slicer(world).await?;
        let Some(vm) = self.vm(&slicer).await? else {
            return Ok(Finding::Unknown("Slicer does not list it yet".into()));
        };
        if vm.address() != self.server.address.to_string() {
            return Ok(Finding::differs(format!(
                "its address is {}, not {}",
                vm.address(),
                self.server.address
            )));
        }
        if !vm.runs() {
            *self.runs.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let status = vm.status.as_deref().unwrap_or("unknown");
            return Ok(Finding::differs(format!("its status is {status}")));
        }
        // An agent that is silent is an error of the API's, too; the API itself has just answered.
        let why = match slicer.health(&self.server.name).await {
            Ok(health) if health.agent_answers() => return Ok(Finding::done()),
            Ok(_) => "its agent does not answer yet".to_owned(),
            Err(failure) => format!("its agent does not answer yet: {failure}"),
        };
        if self.runs_for() >= BOOT {
            return Err(self.silent(world).await);
        }
        Ok(Finding::Unknown(why))
    }

    async fn cancel(&self, world: &World, permit: &WritePermit) -> Option<String> {
        let stopped = self.agents.iter().map(|group| group.cancel(world, permit));
        let said: Vec<String> = join_all(stopped).await.into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("\n"))
    }

    async fn diagnose(&self, world: &World) -> Option<String> {
        let daemon = world.plan.daemon(&self.server.group)?;
        crate::steps::support::console::last_line(world, daemon, &self.server.name).await
    }

    /// The daemon boots what its YAML counts when it starts. A VM that ended since then is ours to bring back: starting
    /// the daemon anew would reboot every server of the host.
    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let slicer = self.slicer(world).await?;
        match self.vm(&slicer).await? {
            Some(vm) if vm.runs() => Ok(()),
            Some(vm) => match slicer.start_vm(permit, &vm).await {
                Ok(()) => Ok(()),
                // Whether Slicer makes a disk where there is none is not documented.
                Err(refused) if self.without_disk => self.restart(world, permit, refused).await,
                Err(refused) => Err(refused.hint(format!(
                    "on {}: sudo systemctl restart {} boots it, and every other server of that host{}",
                    self.server.host,
                    self.unit(world),
                    self.ends_agents(world)
                ))),
            },
            None if self.without_disk => {
                let refused = Failure::new(Code::Vm, "Slicer does not list it");
                self.restart(world, permit, refused).await
            }
            None => Ok(()),
        }
    }
}

impl VmUp {
    /// Its daemon's unit.
    fn unit(&self, world: &World) -> String {
        let daemon = world.plan.daemon(&self.server.group);
        daemon.map_or_else(String::new, crate::plan::Daemon::unit)
    }

    /// What else such a restart does, where its daemon serves agents, too.
    fn ends_agents(&self, world: &World) -> &'static str {
        let mut workers = world.plan.workers();
        if workers.any(|group| group.carrier() == self.server.group) {
            ", and ends its agents"
        } else {
            ""
        }
    }

    /// Restarts its daemon, which makes a disk for every VM that it counts and that has none. Agents of that daemon are drained
    /// before they end.
    async fn restart(&self, world: &World, permit: &WritePermit, refused: Failure) -> Result<()> {
        let server = &self.server;
        let Some(daemon) = world.plan.daemon(&server.group) else {
            return Err(refused);
        };
        let slicer = world.slicer(daemon).await?;
        let cost = cost(&world.plan, &slicer, daemon).await?;
        if let Some(cost) = cost.filter(|_| !self.allow_outage) {
            let cost = format!(
                "Slicer does not relaunch it without its disk ({refused}), and a restart {cost}"
            );
            return Err(refusal(daemon, server, &cost));
        }
        for agents in self.agents.iter().filter(|_| self.allow_outage) {
            agents.drained(world, permit).await?;
        }
        let script = Script::new("systemctl restart --no-block -- {}", &[&daemon.unit()]);
        restart::restart(world, permit, daemon, &self.turns, &script).await
    }
}

#[cfg(test)]
mod tests;
