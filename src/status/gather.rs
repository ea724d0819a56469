//! Everything that is asked, side by side, into plain data. Looks only.

mod disks;
mod waiting;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::config::{Config, Problem};
use crate::control_plane::{self, ControlPlane, Judgement, Versions};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::{Kubernetes, condition};
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::names::k3s::CERTIFICATE_MONITOR;
use crate::names::kubernetes::{DEFAULT_NAMESPACE, TRUE};
use crate::pipeline::{self, Finding, Step, StepId};
use crate::plan::{Decisions, Plan};
use crate::question::limited;
use crate::remote::Look;
use crate::vm::Vm;
use crate::world::World;
use crate::{plan, steps};

use super::document::HostState;
pub(super) use disks::Disk;
pub use waiting::Waiting;

/// One answer may take so long; what takes longer counts as no answer.
const LIMIT: Duration = Duration::from_secs(15);

/// Facts that can stop holding behind our back and that no list of Slicer's or Kubernetes' tells.
const STEPS: [&str; 15] = [
    "forwarding",
    "routes",
    "own-addresses",
    "daemon-config",
    "daemon-running",
    "daemon-current",
    "daemon-answers",
    "k3s-started",
    "server-taint",
    "addons-on-servers",
    "k3s-token-secret",
    "group-reachable",
    "cloud-config",
    "chart",
    "autoscaler-running",
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
pub struct Seen {
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
    pub planned: Result<Plan, Vec<Failure>>,
}

/// What Kubernetes lists.
pub struct Cluster {
    /// Nodes.
    pub nodes: Vec<Value>,
    /// Pods that wait: all of the one that waits longest, of the others the metadata.
    pub pending: Vec<Value>,
    /// Whether the autoscaler is available, where it is deployed.
    pub autoscaler: Option<bool>,
    /// The groups that the autoscaler's configuration names.
    pub scaled: Vec<String>,
    /// Events of k3s about Nodes' certificates, of the last hour.
    pub certificates: Vec<Value>,
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
pub async fn gather(asked: &Asked<'_>, world: &World) -> Seen {
    let (hosts, groups, (control_plane, versions), disks, (servers, cluster), steps) = tokio::join!(
        hosts(asked, world),
        groups(asked, world),
        control_plane(world),
        disks::disks(world, asked.waiting),
        cluster(asked, world),
        look_at_steps(asked, world)
    );
    let facts: Vec<HostFacts> = hosts
        .iter()
        .filter_map(|(_, facts)| facts.as_ref().ok().cloned())
        .collect();
    let planned = planned(asked, world, &facts, &versions);
    Seen {
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
) -> Result<Plan, Vec<Failure>> {
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
        let output = world.host(name)?.look(&Look::Survey).await?;
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

/// Every server's own API, and from whichever is ready first what Kubernetes lists.
async fn cluster(
    asked: &Asked<'_>,
    world: &World,
) -> (Vec<(String, Result<(), String>)>, Result<Cluster, String>) {
    let (found, mut ready) = mpsc::unbounded_channel();
    let waiting = asked.waiting;
    let asked = world.plan.servers.iter().map(|server| {
        let found = found.clone();
        async move {
            let ready = answer(waiting, &server.name, async {
                let machine = world.server(server).await?.clone();
                let ready = Kubernetes::on(machine).ready().await?;
                ready.map_err(|why| Failure::new(Code::K3sStart, why))
            })
            .await;
            if ready.is_ok() {
                // Nobody listens any more once there is a list.
                let _ = found.send(server);
            }
            (server.name.clone(), ready)
        }
    });
    let asked = join_all(asked.collect::<Vec<_>>());
    drop(found);
    let listed = async {
        let mut last = "no server's API is ready".to_owned();
        while let Some(server) = ready.recv().await {
            let listed = Box::pin(answer(waiting, &server.name, list(world, server)));
            match listed.await {
                Ok(cluster) => return Ok(cluster),
                Err(why) => last = why,
            }
        }
        Err(last)
    };
    tokio::join!(asked, listed)
}

async fn list(world: &World, server: &plan::Server) -> Result<Cluster> {
    let server = world.server(server).await?.clone();
    let kubernetes = Kubernetes::on(server);
    let deployment = ["deployment", "-n", NAMESPACE, AUTOSCALER];
    let monitor = format!("source={CERTIFICATE_MONITOR}");
    let certificates = [
        "events",
        "-n",
        DEFAULT_NAMESPACE,
        "--field-selector",
        &monitor,
    ];
    let (nodes, pending, deployment, certificates, scaled) = tokio::try_join!(
        kubernetes.list(&["nodes"]),
        waiting(&kubernetes),
        kubernetes.get(&deployment),
        kubernetes.list(&certificates),
        steps::scaled_groups(&kubernetes)
    )?;
    Ok(Cluster {
        nodes,
        pending,
        autoscaler: deployment.as_ref().map(runs),
        scaled,
        certificates,
    })
}

/// Pods that wait, by their metadata: there may be any number. Of the one that waits longest all is told, with the reason.
async fn waiting(kubernetes: &Kubernetes) -> Result<Vec<Value>> {
    let pending = ["pods", "-A", "--field-selector", "status.phase=Pending"];
    let mut pods = kubernetes.list_metadata(&pending).await?;
    let made = |pod: &Value| {
        let made = pod["metadata"]["creationTimestamp"].as_str();
        made.unwrap_or_default().to_owned()
    };
    if let Some(longest) = pods.iter_mut().min_by_key(|pod| made(pod)) {
        let part = |key: &str| longest["metadata"][key].as_str().unwrap_or_default();
        let words = ["pods", "-n", part("namespace"), part("name")];
        if let Ok(Some(whole)) = kubernetes.get(&words).await {
            *longest = whole;
        }
    }
    Ok(pods)
}

/// Whether a Deployment runs. `Available` is also true of one that asks for no pod.
fn runs(deployment: &Value) -> bool {
    let ready = &deployment["status"]["readyReplicas"];
    condition(deployment, "Available") == Some(TRUE)
        && ready.as_u64().is_some_and(|ready| ready > 0)
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
    StepSeen {
        id: step.id(),
        builds_on: step.needs().into_iter().chain(step.after()).collect(),
        hint: step.hint(),
        found,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{Fake, machine};

    /// Stopped for a drain that failed, it was reported as running with 0 of 0 pods.
    #[test]
    fn an_autoscaler_without_pods_does_not_run() {
        for (ready, running) in [(Some(1), true), (Some(0), false), (None, false)] {
            let deployment = serde_json::json!({
                "spec": {"replicas": ready.unwrap_or(0)},
                "status": {
                    "conditions": [{"type": "Available", "status": "True"}],
                    "readyReplicas": ready,
                },
            });
            assert_eq!(runs(&deployment), running, "{ready:?}");
        }
    }

    /// Of 20 000 pods that wait only one is told with its reason, and only that one is asked for whole.
    #[tokio::test]
    async fn of_the_pods_that_wait_the_longest_is_told_whole() {
        let pod = |name: &str, made: &str, more: &str| {
            format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"a","creationTimestamp":"{made}"}}{more}}}"#
            )
        };
        let (new, old) = (pod("new", "2026-02-02", ""), pod("old", "2026-01-01", ""));
        let list = format!(r#"{{"kind":"List","metadata":{{}},"items":[{new},{old}]}}"#);
        let whole = pod("old", "2026-01-01", r#","status":{"phase":"Pending"}"#);
        let fake = Fake::new()
            .says("/namespaces/a/pods/old", &whole)
            .says("Pending", &list);
        let kubernetes = Kubernetes::on(Arc::new(machine("k3s-cp-1", fake)));
        let pods = waiting(&kubernetes).await.unwrap();
        assert_eq!(pods.len(), 2);
        assert!(pods[0]["status"].is_null());
        assert_eq!(pods[1]["status"]["phase"], "Pending");
    }
}
