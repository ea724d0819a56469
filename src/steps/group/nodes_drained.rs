//! A group's Nodes take no new pods and run none that could run elsewhere. kubectl's own drain does it, with evictions that
//! respect disruption budgets; it runs as a unit of a server, which tries on while we tell what it waits for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join_all, try_join_all};
use serde_json::Value;

use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::names::k3s::PROGRAM;
use crate::names::kubernetes::{DAEMON_SET, MIRROR, OVER};
use crate::names::ours::DRAINED;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::question::limited;
use crate::remote::{Machine, Probe, Script};
use crate::step_id::{StepId, StepName};
use crate::steps::group::parts::nodes::selector;
use crate::steps::support::unit::{Unit, own_words};
use crate::world::World;

/// How to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long evictions may take.
    pub limit: Duration,
    /// Delete what a disruption budget protects, and pods that nobody makes again.
    pub force: bool,
}

pub(crate) struct NodesDrained {
    group: String,
    drain: Drain,
    needs: Vec<StepId>,
    /// The server on which the drain was started: the API may be asked on another one later.
    started: Mutex<Option<Arc<Machine>>>,
}

impl NodesDrained {
    /// Once the autoscaler was told: it would make new agents for the pods that are evicted.
    pub(crate) fn new(group: &str, drain: Drain, told: &[StepId]) -> Self {
        Self {
            group: group.to_owned(),
            drain,
            needs: told.to_vec(),
            started: Mutex::default(),
        }
    }

    fn unit(&self) -> String {
        unit_of(&self.group)
    }

    fn started(&self) -> Option<Arc<Machine>> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.clone()
    }

    /// Why the drain does not get on, in kubectl's words.
    async fn blocked(&self, server: &Machine) -> Result<String> {
        let unit = self.unit();
        let probe = Probe::Journal {
            unit: unit.clone(),
            lines: 60,
        };
        let journal = server.probe(&probe).await?;
        Ok(cause(&journal.stdout, &unit).to_owned())
    }
}

/// The unit of a server that drains a group.
fn unit_of(group: &str) -> String {
    format!("slicer-k3s-drain-{group}.service")
}

/// How long a drain takes to end where its server answers.
const TO_END: Duration = Duration::from_secs(8);

/// Ends a drain that a run has left on this server.
async fn end_drain(server: &Machine, permit: &WritePermit, group: &str) -> Result<()> {
    let script = Script::new(
        "u={}; systemctl stop {} 2>/dev/null; ! systemctl -q is-active \"$u\"",
        &[&unit_of(group), &unit_of(group)],
    )
    .limit(TO_END);
    match limited(TO_END, server.must(permit, "stopping the drain", &script)).await {
        Ok(ended) => ended.map(drop),
        Err(_) => Err(Failure::new(
            Code::Command,
            format!("no answer within {} s", TO_END.as_secs()),
        )),
    }
}

/// Ends a drain that a run has left, on whichever server: the API may be asked on another one now. Those that cannot be reached are
/// let be, but not this one.
pub(crate) async fn end_drains(
    world: &World,
    server: &Machine,
    permit: &WritePermit,
    group: &str,
) -> Result<()> {
    let elsewhere = end_elsewhere(world, server, permit, group);
    tokio::join!(end_drain(server, permit, group), elsewhere).0
}

/// Ends a drain that a run has left on another server than this one, where that can be reached.
async fn end_elsewhere(world: &World, server: &Machine, permit: &WritePermit, group: &str) {
    let others = world.plan.servers_here();
    let others = others.filter(|other| other.name != server.name());
    let others = others.map(|other| async move {
        if let Ok(Ok(other)) = limited(TO_END, world.server(other)).await {
            let _ = end_drain(other, permit, group).await;
        }
    });
    join_all(others).await;
}

/// What kubectl says last of a Node that is empty.
///
/// Source: kubernetes/kubectl pkg/cmd/drain/drain.go (`ToPrinter("drained")`).
const DONE: &str = " drained";

/// Part of what the API and kubectl say of a pod that stays, in either spelling of the first letter.
///
/// Source: kubernetes/kubernetes pkg/registry/core/pod/storage/eviction.go ("Cannot evict pod as it would violate …"),
/// kubernetes/kubectl pkg/drain/filters.go ("cannot delete Pods that declare no controller", and others).
const REFUSED: [&str; 2] = ["annot evict", "annot delete"];

/// The line of a drain's journal that tells how it stands: kubectl's last refusal after the last success, else its last
/// word.
fn cause<'j>(journal: &'j str, unit: &'j str) -> &'j str {
    let mut said = own_words(journal, unit);
    let Some(last) = said.next_back() else {
        return "it has not said anything";
    };
    if last.ends_with(DONE) {
        return last;
    }
    std::iter::once(last)
        .chain(said.rev())
        .find(|line| REFUSED.iter().any(|words| line.contains(words)))
        .unwrap_or(last)
}

/// Selects the Nodes that take pods.
const OPEN: &str = "spec.unschedulable=false";

/// Nodes whose pods are asked for at the same time.
const AT_ONCE: usize = 8;

/// `namespace/name` of the pods that a drain still has to move from these Nodes. Each Node's pods are asked for by its name, for
/// those of the whole cluster may be any number, and their metadata are enough.
async fn left(kubernetes: &Kubernetes, nodes: &[&str]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for some in nodes.chunks(AT_ONCE) {
        let asked = some.iter().map(|node| pods_of(kubernetes, node));
        for pods in try_join_all(asked).await? {
            left.extend(movable(&pods));
        }
    }
    Ok(left)
}

/// The metadata of a Node's pods that are not over.
async fn pods_of(kubernetes: &Kubernetes, node: &str) -> Result<Vec<Value>> {
    let over = OVER.map(|phase| format!(",status.phase!={phase}")).concat();
    let selector = format!("spec.nodeName={node}{over}");
    let words = ["pods", "-A", "--field-selector", &selector];
    kubernetes.list_metadata(&words).await
}

/// `namespace/name` of those that run elsewhere once they are evicted.
fn movable(pods: &[Value]) -> Vec<String> {
    let stays = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let daemon = owners.is_some_and(|all| all.iter().any(|owner| owner["kind"] == DAEMON_SET));
        daemon || !pod["metadata"]["annotations"][MIRROR].is_null()
    };
    let part = |pod: &Value, key: &str| pod["metadata"][key].as_str().unwrap_or("?").to_owned();
    pods.iter()
        .filter(|pod| !stays(pod))
        .map(|pod| format!("{}/{}", part(pod, "namespace"), part(pod, "name")))
        .collect()
}

/// A unit of an earlier, killed run would drain in its way: ours takes its place.
const DRAIN: &str = "set -e; u={}; f={}; systemctl stop \"$u\" 2>/dev/null || true; systemctl reset-failed \"$u\" 2>/dev/null || true
k3s kubectl label nodes --overwrite -l {} --field-selector {} {} || true
systemd-run --quiet --collect --unit \"$u\" -p RuntimeMaxSec={} {} kubectl drain -l {} --ignore-daemonsets --delete-emptydir-data --timeout {} $f";

#[async_trait]
impl Step<World> for NodesDrained {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::NodesDrained.on(&self.group),
            format!("Drain the nodes of {}", self.group),
            "slicer-k3s kubectl get poddisruptionbudget -A; mend it and run again, \
             or with --force, which deletes these pods; to keep the host, slicer-k3s init: it opens its \
             nodes again",
        )
        .needs(self.needs.clone())
        // What was evicted still has its grace period.
        .timeout(self.drain.limit + Duration::from_secs(35))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let selector = selector(&self.group);
        let of_group = ["nodes", "-l", &selector];
        let open = [&of_group[..], &["--field-selector", OPEN]].concat();
        let nodes = kubernetes.list_metadata(&of_group).await?;
        let names: Vec<&str> = nodes
            .iter()
            .filter_map(|node| node["metadata"]["name"].as_str())
            .collect();
        if names.is_empty() {
            return Ok(Finding::Done("no nodes".into()));
        }
        let open = kubernetes.list_metadata(&open).await?.len();
        let pods = left(&kubernetes, &names).await?;
        if pods.is_empty() && open == 0 {
            return Ok(Finding::Done(format!("{} nodes", names.len())));
        }
        let started = self.started();
        let server = started.as_ref().unwrap_or(&kubernetes.server);
        let unit = Unit::look(server, &self.unit()).await?;
        let what = match pods.first() {
            Some(pod) => format!("{} pods are left, {pod} one of them", pods.len()),
            None => format!("{open} nodes still take pods"),
        };
        if unit.runs() {
            let words = self.blocked(server).await?;
            return Ok(Finding::Unknown(format!("{what}: {words}")));
        }
        if started.is_none() {
            return Ok(Finding::Differs(what));
        }
        let words = self.blocked(server).await?;
        if words.ends_with(DONE) {
            return Ok(Finding::Unknown(what));
        }
        Err(Failure::new(
            Code::Kubernetes,
            format!("{} cannot be drained", self.group),
        )
        .because(format!("{what}: {words}"))
        .hint(self.meta().hint)
        .permanent())
    }

    async fn cancel(&self, _: &World, permit: &WritePermit) -> Option<String> {
        let server = &self.started()?;
        let group = &self.group;
        Some(match end_drain(server, permit, group).await {
            Ok(()) => format!(
                "The drain of {group} was stopped. Its nodes take no new pods until slicer-k3s init opens them."
            ),
            Err(failure) => format!(
                "The drain of {group} goes on on {}, for at most {} s more: {failure}. To end it: slicer-k3s exec {0} -- systemctl stop {}",
                server.name(),
                self.drain.limit.as_secs(),
                self.unit()
            ),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let (unit, selector) = (self.unit(), selector(&self.group));
        let limit = format!("{}s", self.drain.limit.as_secs());
        let most = self.meta().timeout.as_secs().to_string();
        let force = if self.drain.force {
            "--force --disable-eviction"
        } else {
            ""
        };
        let label = format!("{DRAINED}=true");
        let script = Script::new(
            DRAIN,
            &[
                &unit, force, &selector, OPEN, &label, &most, PROGRAM, &selector, &limit,
            ],
        );
        let server = kubernetes.server;
        end_elsewhere(world, &server, permit, &self.group).await;
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&server));
        let begun = server.must(permit, "starting the drain", &script).await;
        begun.map(drop)
    }
}

#[cfg(test)]
mod tests;
