//! Everything that is asked, side by side, into plain data. Looks only.

mod cluster;
mod disks;
mod waiting;

use std::time::Duration;

use futures_util::future::join_all;

use crate::config::{Config, Problem};
use crate::control_plane::{self, ControlPlane, Judgement, Versions};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures, Result};
use crate::pipeline::{self, Finding, Step};
use crate::plan::{Decisions, Plan};
use crate::question::limited;
use crate::remote::Probe;
use crate::step_id::{StepId, StepName};
use crate::vm::Vm;
use crate::world::World;
use crate::{plan, steps};

use super::document::HostState;
pub(super) use cluster::Cluster;
pub(super) use disks::Disk;
pub use waiting::Waiting;

/// One answer may take so long; what takes longer counts as no answer.
const LIMIT: Duration = Duration::from_secs(15);

/// Facts that can stop holding behind our back and that no list of Slicer's or Kubernetes' tells.
const STEPS: [StepName; 15] = [
    StepName::Forwarding,
    StepName::Routes,
    StepName::OwnAddresses,
    StepName::DaemonConfig,
    StepName::DaemonRunning,
    StepName::DaemonCurrent,
    StepName::DaemonAnswers,
    StepName::K3sStarted,
    StepName::ServerTaint,
    StepName::AddonsOnServers,
    StepName::K3sTokenSecret,
    StepName::GroupReachable,
    StepName::CloudConfig,
    StepName::Chart,
    StepName::AutoscalerRunning,
];

/// What is asked about.
pub struct Asked<'a> {
    /// cluster.toml.
    pub config: &'a Config,
    /// What was decided.
    pub decisions: &'a Decisions,
    /// What steps are told.
    pub options: &'a steps::Options,
    /// Hosts that do not answer, and why.
    pub absent: &'a [(String, String)],
    /// The same hosts: how far we came with each.
    pub not_seen: &'a [(String, NotSeen)],
    /// Whose answers are missing meanwhile.
    pub waiting: &'a Waiting,
}

/// Why a host could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSeen {
    /// How far we came.
    pub state: HostState,
    /// Why no further.
    pub why: String,
    /// What to do about it, where something other than to switch it on.
    pub hint: Option<String>,
}

impl From<&Failure> for NotSeen {
    fn from(failure: &Failure) -> Self {
        let state = HostState::of(failure);
        Self {
            state,
            why: failure.to_string(),
            hint: (state != HostState::Off)
                .then(|| failure.next().map(str::to_owned))
                .flatten(),
        }
    }
}

/// The answers; each that is missing says why.
pub struct Observed {
    /// Hosts of cluster.toml.
    pub hosts: Vec<(String, Result<HostFacts, NotSeen>)>,
    /// VMs of the plan's groups.
    pub groups: Vec<(String, Result<Vec<Vm>, String>)>,
    /// How the plan's servers would have to start, or why none may.
    pub control_plane: Result<ControlPlane, Failure>,
    /// Which k3s the plan's servers have, or why `init` would refuse what they have.
    pub versions: Result<Versions, Failure>,
    /// The plan's servers: whether each one's own API is ready.
    pub servers: Vec<(String, Result<(), String>)>,
    /// The disks of servers that could be asked.
    pub disks: Vec<(String, Disk)>,
    /// What Kubernetes lists.
    pub cluster: Result<Cluster, String>,
    /// What steps found.
    pub steps: Vec<StepSeen>,
    /// Somebody else changed the cluster, and this workstation's record is older.
    pub elsewhere: Option<Failure>,
    /// What is wrong with cluster.toml: all is compared with what the last run read in its place.
    pub mistakes: Vec<Problem>,
    /// The command that goes on with the replacement of a token that has not ended, where there is one.
    pub rotation: Option<String>,
    /// What the next `init` would plan.
    pub planned: Result<Plan, Failures>,
}

/// What one step found.
pub struct StepSeen {
    /// Which.
    pub id: StepId,
    /// What it goes by: where one of these does not hold, this is no finding of its own.
    pub builds_on: Vec<StepId>,
    /// The next thing to try.
    pub hint: String,
    /// What it found.
    pub found: Result<Finding>,
}

/// Asks everything at once.
pub async fn gather(asked: &Asked<'_>, world: &World) -> Observed {
    let (hosts, groups, (control_plane, versions), disks, (servers, cluster), steps) = tokio::join!(
        hosts(asked, world),
        groups(asked, world),
        control_plane(world),
        disks::disks(world, asked.waiting),
        cluster::cluster(asked, world),
        look_at_steps(asked, world)
    );
    let facts: Vec<HostFacts> = hosts
        .iter()
        .filter_map(|(_, facts)| facts.as_ref().ok().cloned())
        .collect();
    let planned = planned(asked, world, &facts, &versions);
    Observed {
        hosts,
        groups,
        control_plane,
        versions,
        servers,
        disks,
        cluster,
        steps,
        elsewhere: None,
        mistakes: Vec::new(),
        rotation: None,
        planned,
    }
}

/// What the next `init` would plan, with the k3s that the servers were upgraded to: cluster.toml may ask for that one. The
/// upgrade itself is told by `versions`, and is no change of the plan.
fn planned(
    asked: &Asked<'_>,
    world: &World,
    facts: &[HostFacts],
    versions: &Result<Versions, Failure>,
) -> Result<Plan, Failures> {
    let mut decisions = asked.decisions.clone();
    let mut config = asked.config.clone();
    match versions {
        Ok(Versions {
            upgrade: Some(upgrade),
            ..
        }) => decisions.k3s_version = Some(upgrade.to.to_string()),
        Ok(_) => {}
        // Which one may be asked for is open as long as they differ.
        Err(_) => config.k3s.version = None,
    }
    let decided = &world.plan.k3s.version;
    let version = config.k3s.version.as_ref().unwrap_or(decided);
    let mut plan = plan::decide(&config, &decisions, facts, asked.absent, version)?;
    if decisions.k3s_version != asked.decisions.k3s_version {
        plan.k3s.version.clone_from(decided);
    }
    Ok(plan)
}

/// The answer of `whom`, or why there is none.
async fn answer<T>(
    waiting: &Waiting,
    whom: &str,
    asking: impl Future<Output = Result<T>>,
) -> Result<T, String> {
    match waiting.on(whom, limited(LIMIT, asking)).await {
        Ok(answer) => answer.map_err(|failure| failure.to_string()),
        Err(_) => Err(format!("no answer after {} s", LIMIT.as_secs())),
    }
}

async fn hosts(asked: &Asked<'_>, world: &World) -> Vec<(String, Result<HostFacts, NotSeen>)> {
    join_all(asked.config.hosts.iter().map(|host| async move {
        let name = host.name.clone();
        let facts = match asked.not_seen.iter().find(|(absent, _)| *absent == name) {
            Some((_, why)) => Err(why.clone()),
            None => survey(asked.waiting, &name, world).await,
        };
        (name, facts)
    }))
    .await
}

/// Looks at a host that was connected.
async fn survey(waiting: &Waiting, name: &str, world: &World) -> Result<HostFacts, NotSeen> {
    let asking = async {
        let output = world.host(name)?.probe(&Probe::Survey).await?;
        HostFacts::parse(name, &output.stdout)
    };
    match waiting.on(name, limited(LIMIT, asking)).await {
        Ok(facts) => facts.map_err(|failure| NotSeen::from(&failure)),
        Err(_) => Err(NotSeen::from(&Failure::new(
            Code::SshLost,
            format!("no answer after {} s", LIMIT.as_secs()),
        ))),
    }
}

async fn groups(asked: &Asked<'_>, world: &World) -> Vec<(String, Result<Vec<Vm>, String>)> {
    join_all(world.plan.daemons.iter().map(|daemon| async move {
        let whom = format!("{} (Slicer's API on {})", daemon.group, daemon.host);
        let vms = async { world.slicer(daemon).await?.vms(&daemon.group).await };
        let vms = answer(asked.waiting, &whom, vms).await;
        (daemon.group.clone(), vms)
    }))
    .await
}

/// What the servers hold and which k3s they have, judged as `init` would. Member lists that are just changing are asked for
/// again.
async fn control_plane(
    world: &World,
) -> (Result<ControlPlane, Failure>, Result<Versions, Failure>) {
    let mut tries = 3;
    loop {
        let seen = control_plane::ask_all(world, false).await;
        let control_plane = match control_plane::judge(&world.plan, &seen, &[]) {
            Judgement::Clear(control_plane) => Ok(control_plane),
            Judgement::Refused(refusal) if refusal.passes && tries > 0 => {
                tries -= 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Judgement::Refused(refusal) => Err(control_plane::describe(world, *refusal).await),
        };
        let versions = control_plane::judge_versions(&world.plan, &seen);
        return (control_plane, versions);
    }
}

async fn look_at_steps(asked: &Asked<'_>, world: &World) -> Vec<StepSeen> {
    // What is on a host that is off is not asked about: that would take as long as nobody answers.
    let why = |step: &dyn Step<World>| {
        let id = step.id();
        let host = world.plan.host_of(&id.subject)?;
        let (_, why) = asked.absent.iter().find(|(absent, _)| absent == host)?;
        Some(why.clone())
    };
    let steps = steps::only(&world.plan, asked.options, &STEPS);
    let (away, here): (Vec<_>, Vec<_>) = steps
        .into_iter()
        .partition(|step| why(step.as_ref()).is_some());
    let found = pipeline::look_at_once(&here, world).await;
    let away = away.iter().map(|step| {
        let why = why(step.as_ref()).unwrap_or_default();
        seen(step.as_ref(), Err(Failure::new(Code::SshUnreachable, why)))
    });
    // Those first that others build on.
    let here = here.iter().zip(found);
    away.chain(here.map(|(step, found)| seen(step.as_ref(), found)))
        .collect()
}

fn seen(step: &dyn Step<World>, found: Result<Finding>) -> StepSeen {
    let meta = step.meta();
    StepSeen {
        id: meta.id,
        builds_on: meta.needs.into_iter().chain(meta.after).collect(),
        hint: meta.hint,
        found,
    }
}
