//! Nothing is left of a proof that was cut short, by a kill or a power cut: its pods are deleted, its VMs join and are
//! removed by the autoscaler, and those that never join are deleted here.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::ProofRun;
use crate::deletion::{self, Sightings};
use crate::failure::{Code, Result};
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::JOIN;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::{StepId, StepName};
use crate::steps::group::parts::{nodes, orphans};
use crate::steps::proof::parts::{pods, record};
use crate::world::World;

/// What others asked for is waited for this long.
const OTHERS: Duration = Duration::from_mins(3);

pub(crate) struct Leftovers {
    trial: Arc<ProofRun>,
    needs: Vec<StepId>,
    after: Vec<StepId>,
    /// The VMs before the proof that was cut short, once its note is gone.
    before: Mutex<Option<BTreeSet<String>>>,
    /// Since when others are waited for.
    since: OnceLock<Instant>,
}

impl Leftovers {
    pub(crate) fn new(trial: &Arc<ProofRun>, needs: Vec<StepId>, after: Vec<StepId>) -> Self {
        Self {
            trial: Arc::clone(trial),
            needs,
            after,
            before: Mutex::default(),
            since: OnceLock::new(),
        }
    }

    fn before(&self) -> Option<BTreeSet<String>> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.clone()
    }

    /// Waits until every VM of the proof has joined or is gone, and deletes those that had the time to join and did not. One that
    /// is not ours to delete is not waited for.
    async fn none_waits(
        &self,
        world: &World,
        kubernetes: &Kubernetes,
        permit: &WritePermit,
        before: &BTreeSet<String>,
    ) -> Result<()> {
        let daemon = &self.trial.daemon;
        let begin = Instant::now();
        let (mut seen, mut gone) = (Sightings::default(), BTreeSet::new());
        loop {
            let orphans = orphans::find(world, kubernetes, daemon).await?;
            let mut had = orphans.had_time(world, daemon).await?;
            had.retain(|(vm, _)| !before.contains(vm) && !gone.contains(vm));
            // Without a Node for as long as this run has looked, whatever is known of its age.
            let watched = i64::try_from(begin.elapsed().as_secs()).unwrap_or(i64::MAX);
            let ours = |vm: &str| deletion::may_go_without_node(daemon, vm, JOIN, JOIN);
            had.retain(|(vm, _)| ours(vm));
            if had.is_empty() {
                return Ok(());
            }
            let old = had.iter().filter(|(_, time)| watched.max(*time) >= JOIN);
            let old: BTreeSet<String> = old.map(|(vm, _)| vm.clone()).collect();
            let now = Instant::now();
            seen.see(now, &old);
            let confirmed = seen.confirmed(now, orphans.of);
            if !confirmed.is_empty() {
                let data = self.trial.local_data;
                gone.extend(
                    orphans::delete(world, kubernetes, permit, daemon, &confirmed, data).await?,
                );
                seen.next_pass(now);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Why a proof has to wait for what others asked for: a pod of its own would run on a VM that comes for them, and show nothing
    /// about the group.
    ///
    /// A group in which something comes all the time is proven all the same, after a while.
    async fn others(&self, world: &World, kubernetes: &Kubernetes) -> Result<Option<String>> {
        if self.trial.wanted.pods == 0 || self.trial.stands(kubernetes).await? {
            return Ok(None);
        }
        let since = *self.since.get_or_init(Instant::now);
        if since.elapsed() >= OTHERS {
            return Ok(None);
        }
        let daemon = &self.trial.daemon;
        let agents = nodes::list(kubernetes, &daemon.group).await?;
        if let Some(pod) = pods::installing(kubernetes, &agents).await? {
            return Ok(Some(format!("{pod} needs an agent first")));
        }
        let orphans = orphans::find(world, kubernetes, daemon).await?;
        let vm = orphans.joining(world, daemon).await?;
        Ok(vm.map(|vm| format!("{vm} is joining, and was not made for it")))
    }

    /// A Node of the proof that is still there though nothing but daemons runs on it.
    async fn idle(
        &self,
        kubernetes: &Kubernetes,
        before: &BTreeSet<String>,
    ) -> Result<Option<String>> {
        let nodes = nodes::list(kubernetes, &self.trial.daemon.group).await?;
        if nodes.len() <= self.trial.daemon.min as usize {
            return Ok(None);
        }
        for node in nodes.into_iter().filter(|node| !before.contains(&node.vm)) {
            if pods::blocking_pod(kubernetes, &node.name).await?.is_none() {
                return Ok(Some(node.name));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Step<World> for Leftovers {
    fn meta(&self) -> Meta {
        Meta::new(
            self.trial.id(StepName::ProofLeftovers),
            format!(
                "Clear what an earlier proof of {} left",
                self.trial.daemon.group
            ),
            format!(
                "slicer-k3s kubectl get nodes -l slicer/hostgroup={0}, and on {1}: sudo slicer vm \
                 list {0}",
                self.trial.daemon.group, self.trial.daemon.host
            ),
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        // The autoscaler's own waits, as after any proof; those of `apply` come before.
        .timeout(Duration::from_secs(JOIN.unsigned_abs()) + Duration::from_mins(5))
        .code(Code::Proof)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let group = &self.trial.daemon.group;
        let pods = pods::list(&kubernetes, group).await?;
        if !pods.is_empty() {
            return Ok(Finding::differs(format!(
                "{} pods of a proof are left",
                pods.len()
            )));
        }
        if record::begun(&kubernetes, group).await?.is_some() {
            return Ok(Finding::differs("an earlier proof did not end"));
        }
        if let Some(before) = self.before()
            && let Some(node) = self.idle(&kubernetes, &before).await?
        {
            return Ok(Finding::Unknown(format!(
                "Node {node} of an earlier proof is still there"
            )));
        }
        if let Some(why) = self.others(world, &kubernetes).await? {
            return Ok(Finding::Unknown(why));
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let daemon = &self.trial.daemon;
        // Pods first, or the autoscaler would make the next VM for them.
        pods::delete(&kubernetes, permit, &daemon.group).await?;
        let Some(before) = record::begun(&kubernetes, &daemon.group).await? else {
            return Ok(());
        };
        self.none_waits(world, &kubernetes, permit, &before).await?;
        record::forget(&kubernetes, permit, &daemon.group).await?;
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, NOT_FOUND, permit, world};

    const BEGUN: &str = r#"{"data":{"k3s-agents-1.begun":"k3s-agents-1-1"}}"#;
    const NODES: &str = "GET /hostgroup/k3s-agents-1/nodes";

    fn step() -> Leftovers {
        Leftovers::new(&super::super::trial(false), Vec::new(), Vec::new())
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_noticed_by_its_pods_or_its_note() {
        for (fake, clean) in [
            (
                Fake::new().says("/pods?", r#"{"kind":"List","metadata":{},"items":[{}]}"#),
                false,
            ),
            (Fake::new().says("/configmaps/", BEGUN), false),
            (Fake::new(), true),
        ] {
            let fake = fake.says("/nodes?", r#"{"kind":"List","metadata":{},"items":[]}"#);
            let host = host("900", "[]");
            let world = world(&[("k3s-cp-1", &fake), ("ryzen", &host)]);
            let found = step().check(&world, Phase::Before).await.unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), clean, "{found:?}");
        }
    }

    /// ryzen at `now`, with these VMs.
    fn host(now: &str, vms: &str) -> Fake {
        Fake::new()
            .says("auth/token", "t0ken\n")
            .says("date -d", now)
            .says(NODES, vms)
    }

    /// On an agent that comes for other pods the proof's would run without a scale-up of its own.
    #[tokio::test]
    async fn a_proof_waits_for_agents_that_others_asked_for() {
        const VM: &str = r#"[{"hostname":"k3s-agents-1-1","created_at":"1970-01-01T00:10:00Z"}]"#;
        const NODE: &str =
            r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"k3s-agents-1-1"}}]}"#;
        const PROVEN: &str = r#"{"data":{"k3s-agents-1":"f00"}}"#;
        const NONE: &str = r#"{"kind":"List","metadata":{},"items":[]}"#;
        for (now, nodes, record, waits) in [
            ("660", NONE, NOT_FOUND, true),
            ("660", NODE, NOT_FOUND, false),
            ("660", NONE, PROVEN, false),
            // It had the time to join, and did not.
            ("960", NONE, NOT_FOUND, false),
        ] {
            let server = Fake::new()
                .says("helmcharts.helm", NONE)
                .says("/nodes?", nodes)
                .says("/configmaps/", record);
            let host = host(now, VM);
            let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
            let found = step().check(&world, Phase::Before).await.unwrap();
            assert_eq!(
                matches!(found, Finding::Unknown(_)),
                waits,
                "{now} {found:?}"
            );
        }
    }

    /// Deleted is only what the proof made, what has no Node, and what is too old to get one.
    #[tokio::test(start_paused = true)]
    async fn vms_that_never_joined_are_deleted_and_no_others() {
        let server = Fake::new()
            .says("/persistentvolumes?", r#"{"kind":"List","metadata":{},"items":[]}"#)
            .says("/configmaps/", BEGUN)
            .says("/deployments", "{}")
            .says("date -d", "900\n")
            .says("/nodes?", r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"k3s-agents-1-3"}},{"metadata":{"name":"k3s-cp-1"},"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"1970-01-01T00:00:00Z"}]}}]}"#);
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("date -d", "900\n")
            .says(NODES, r#"[{"hostname":"k3s-agents-1-1"},{"hostname":"k3s-agents-1-2","created_at":"1970-01-01T00:00:00Z"},{"hostname":"k3s-agents-1-3"}]"#)
            .says("DELETE /", "");
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        step().apply(&world, &permit()).await.unwrap();
        assert!(host.was_told("DELETE /hostgroup/k3s-agents-1/nodes/k3s-agents-1-2"));
        assert!(!host.was_told("nodes/k3s-agents-1-1"));
        assert!(!host.was_told("nodes/k3s-agents-1-3"));
        assert!(server.was_told("rollout restart"));
        assert!(server.was_told(r#""k3s-agents-1.begun":null"#));
    }

    /// Its Node is the autoscaler's to remove, unless somebody else's pod has come to run there.
    #[tokio::test]
    async fn an_idle_node_of_the_proof_is_waited_for() {
        let nodes = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n","labels":{"slicer/hostname":"k3s-agents-1-2"}}}]}"#;
        for (pods, waits) in [
            (
                r#"{"kind":"List","metadata":{},"items":[{"metadata":{"ownerReferences":[{"kind":"DaemonSet"}]}}]}"#,
                true,
            ),
            (
                r#"{"kind":"List","metadata":{},"items":[{"metadata":{}}]}"#,
                false,
            ),
        ] {
            let server = Fake::new()
                .says("/nodes?", nodes)
                .says("spec.nodeName", pods);
            let step = step();
            *step.before.lock().unwrap() = Some(BTreeSet::new());
            let host = host("900", "[]");
            let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
            let found = step.check(&world, Phase::Before).await.unwrap();
            assert_eq!(matches!(found, Finding::Unknown(_)), waits, "{found:?}");
        }
    }
}
