//! A group's Nodes take no new pods and run none that could run elsewhere. kubectl's own drain does it, with evictions that
//! respect disruption budgets; it runs as a unit of a server, which tries on while we tell what it waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::failure::{Code, Failure, Result};
use crate::k3s::PROGRAM;
use crate::kubernetes::{DAEMON_SET, Kubernetes, MIRROR, OVER};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::remote::{Look, Machine, Script};
use crate::steps::group_nodes::{DRAINED, selector};
use crate::steps::unit::{Unit, own_words};
use crate::world::World;

/// How to drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long evictions may take.
    pub limit: Duration,
    /// Delete what a disruption budget protects, and pods that nobody makes again.
    pub force: bool,
}

pub(in crate::steps) struct NodesDrained {
    group: String,
    drain: Drain,
    needs: Vec<StepId>,
    started: AtomicBool,
    /// The server on which it was started.
    on: OnceLock<Arc<Machine>>,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("nodes-drained", group)
}

impl NodesDrained {
    /// Once the autoscaler was told: it would make new agents for the pods that are evicted.
    pub(in crate::steps) fn new(group: &str, drain: Drain, told: &[StepId]) -> Self {
        Self {
            group: group.to_owned(),
            drain,
            needs: told.to_vec(),
            started: AtomicBool::new(false),
            on: OnceLock::new(),
        }
    }

    fn unit(&self) -> String {
        unit_of(&self.group)
    }

    /// Why the drain does not get on, in kubectl's words.
    async fn blocked(&self, kubernetes: &Kubernetes) -> Result<String> {
        let unit = self.unit();
        let look = Look::Journal {
            unit: unit.clone(),
            lines: 60,
        };
        let journal = kubernetes.server.look(&look).await?;
        Ok(cause(&journal.stdout, &unit).to_owned())
    }
}

/// The unit of a server that drains a group.
fn unit_of(group: &str) -> String {
    format!("slicer-k3s-drain-{group}.service")
}

/// Ends a drain that a run has left on this server.
pub(in crate::steps) async fn end_drain(
    server: &Machine,
    hands: &Hands,
    group: &str,
) -> Result<()> {
    let script = Script::new(
        "u={}; systemctl stop {} 2>/dev/null; ! systemctl -q is-active \"$u\"",
        &[&unit_of(group), &unit_of(group)],
    )
    .limit(Duration::from_secs(10));
    server.must(hands, "stopping the drain", &script).await?;
    Ok(())
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

/// `namespace/name` of pods that a drain still has to move from these Nodes.
fn movable(pods: &[Value], nodes: &[&str]) -> Vec<String> {
    let stays = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let daemon = owners.is_some_and(|all| all.iter().any(|owner| owner["kind"] == DAEMON_SET));
        let mirror = &pod["metadata"]["annotations"][MIRROR];
        let phase = pod["status"]["phase"].as_str();
        let over = phase.is_some_and(|phase| OVER.contains(&phase));
        daemon || !mirror.is_null() || over
    };
    pods.iter()
        .filter(|pod| {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            nodes.contains(&node) && !stays(pod)
        })
        .map(|pod| {
            let part = |key: &str| pod["metadata"][key].as_str().unwrap_or("?").to_owned();
            format!("{}/{}", part("namespace"), part("name"))
        })
        .collect()
}

/// A unit of an earlier, killed run would drain in its way: ours takes its place.
const DRAIN: &str = "set -e; u={}; f={}; systemctl stop \"$u\" 2>/dev/null || true; systemctl reset-failed \"$u\" 2>/dev/null || true
k3s kubectl label nodes --overwrite -l {} --field-selector spec.unschedulable=false {} || true
systemd-run --quiet --collect --unit \"$u\" -p RuntimeMaxSec={} {} kubectl drain -l {} --ignore-daemonsets --delete-emptydir-data --timeout {} $f";

#[async_trait]
impl Step for NodesDrained {
    fn id(&self) -> StepId {
        id(&self.group)
    }

    fn title(&self) -> String {
        format!("Drain the nodes of {}", self.group)
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn patience(&self) -> Duration {
        // What was evicted still has its grace period.
        self.drain.limit + Duration::from_secs(35)
    }

    fn hint(&self) -> String {
        "slicer-k3s kubectl get poddisruptionbudget -A; mend it and run again, or with --force, which deletes these pods; \
         to keep the host, slicer-k3s init: it opens its nodes again"
            .into()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let selector = selector(&self.group);
        let nodes = kubernetes.list(&["nodes", "-l", &selector]).await?;
        let names: Vec<&str> = nodes
            .iter()
            .filter_map(|node| node["metadata"]["name"].as_str())
            .collect();
        if names.is_empty() {
            return Ok(Finding::Done("no nodes".into()));
        }
        let open = nodes
            .iter()
            .filter(|node| node["spec"]["unschedulable"] != true);
        let open = open.count();
        let pods = movable(&kubernetes.list(&["pods"]).await?, &names);
        if pods.is_empty() && open == 0 {
            return Ok(Finding::Done(format!("{} nodes", names.len())));
        }
        let unit = Unit::look(&kubernetes.server, &self.unit()).await?;
        let what = match pods.first() {
            Some(pod) => format!("{} pods are left, {pod} one of them", pods.len()),
            None => format!("{open} nodes still take pods"),
        };
        if unit.runs() {
            let words = self.blocked(&kubernetes).await?;
            return Ok(Finding::Unknown(format!("{what}: {words}")));
        }
        if !self.started.load(Ordering::Relaxed) {
            return Ok(Finding::Differs(what));
        }
        let words = self.blocked(&kubernetes).await?;
        if words.ends_with(DONE) {
            return Ok(Finding::Unknown(what));
        }
        Err(Failure::new(
            Code::Kubernetes,
            format!("{} cannot be drained", self.group),
        )
        .because(format!("{what}: {words}"))
        .hint(self.hint())
        .lasting())
    }

    async fn stopped(&self, _: &World, hands: &Hands) -> Option<String> {
        let server = self.on.get()?;
        let group = &self.group;
        Some(match end_drain(server, hands, group).await {
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

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let (unit, selector) = (self.unit(), selector(&self.group));
        let limit = format!("{}s", self.drain.limit.as_secs());
        let most = self.patience().as_secs().to_string();
        let force = if self.drain.force {
            "--force --disable-eviction"
        } else {
            ""
        };
        let label = format!("{DRAINED}=true");
        let script = Script::new(
            DRAIN,
            &[
                &unit, force, &selector, &label, &most, PROGRAM, &selector, &limit,
            ],
        );
        self.started.store(true, Ordering::Relaxed);
        let _ = self.on.set(Arc::clone(&kubernetes.server));
        kubernetes
            .server
            .must(hands, "starting the drain", &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, world};

    fn step(force: bool) -> NodesDrained {
        let limit = Duration::from_mins(5);
        let drain = Drain { limit, force };
        NodesDrained::new("k3s-agents-1", drain, &[])
    }

    fn cluster(unit: &str) -> Fake {
        let pod = |name: &str, more: &str| {
            format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"default"{more}}},"spec":{{"nodeName":"n"}},"status":{{"phase":"Running"}}}}"#
            )
        };
        let daemon = pod("log", r#","ownerReferences":[{"kind":"DaemonSet"}]"#);
        let pods = format!(r#"{{"items":[{},{daemon}]}}"#, pod("web", ""));
        Fake::new()
            .says(
                "/nodes",
                r#"{"items":[{"metadata":{"name":"n"},"spec":{"unschedulable":true}}]}"#,
            )
            .says("/pods", &pods)
            .says("ActiveState", unit)
            .says(
                "journalctl",
                "Cannot evict pod as it would violate the pod's disruption budget.\n",
            )
    }

    #[tokio::test]
    async fn what_holds_a_drain_up_is_told_and_ends_the_wait_when_it_gave_up() {
        let running = cluster("ActiveState=active\nSubState=running\n");
        let found = step(false)
            .check(&world(&[("k3s-cp-1", &running)]))
            .await
            .unwrap();
        assert!(
            matches!(&found, Finding::Unknown(why) if why.contains("1 pods are left, default/web") && why.contains("disruption budget")),
            "{found:?}"
        );
        let over = cluster("ActiveState=inactive\n");
        let world = world(&[("k3s-cp-1", &over)]);
        let step = step(false);
        assert!(matches!(
            step.check(&world).await.unwrap(),
            Finding::Differs(_)
        ));
        step.apply(&world, &hands()).await.unwrap();
        assert!(!over.was_told("--disable-eviction"));
        assert!(step.check(&world).await.unwrap_err().is_lasting());
    }

    /// Evictions went on for as long as the drain may take, unseen by anyone, while the next run opened the nodes again.
    #[tokio::test]
    async fn a_run_that_is_stopped_takes_its_drain_with_it() {
        for (status, says) in [(0, "was stopped"), (1, "goes on on k3s-cp-1")] {
            let fake = Fake::new().answers("is-active", status, "");
            let world = world(&[("k3s-cp-1", &fake)]);
            let step = step(false);
            assert_eq!(
                step.stopped(&world, &hands()).await,
                None,
                "it was not begun"
            );
            step.apply(&world, &hands()).await.unwrap();
            assert!(fake.was_told("RuntimeMaxSec=335"));
            let said = step.stopped(&world, &hands()).await.unwrap();
            assert!(said.contains(says), "{said}");
            assert!(fake.was_told("systemctl stop slicer-k3s-drain-k3s-agents-1.service"));
        }
    }

    /// systemd has the last word in the journal, and it is no cause.
    #[test]
    fn the_cause_is_kubectls_not_systemds() {
        let unit = "slicer-k3s-drain-a.service";
        let refused = "error when evicting pods/\"web\" -n \"default\" (will retry after 5s): Cannot evict pod as it would violate the pod's disruption budget.";
        let journal = format!(
            "{refused}\nevicting pod default/web\nThere are pending nodes to be drained:\n a-1\n{unit}: Main process exited, code=exited\n{unit}: Failed with result 'exit-code'.\n"
        );
        assert_eq!(cause(&journal, unit), refused);
        let done = format!("{journal}node/a-1 drained\n{unit}: Deactivated successfully.\n");
        assert_eq!(cause(&done, unit), "node/a-1 drained");
    }

    #[tokio::test]
    async fn force_deletes_what_a_budget_protects() {
        let fake = cluster("");
        let world = world(&[("k3s-cp-1", &fake)]);
        step(true).apply(&world, &hands()).await.unwrap();
        assert!(fake.was_told("--force --disable-eviction"));
    }
}
