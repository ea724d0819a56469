//! Nothing is left of this run's proof, however it ended: no pod, and no VM that was made for it and never joined.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::ProofRun;
use crate::deletion::Sightings;
use crate::failure::{Code, Result};
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::JOIN;
use crate::names::ours::PROOF_LABEL;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepName;
use crate::steps::group::parts::orphans;
use crate::steps::group::parts::orphans::NeverJoined;
use crate::steps::proof::parts::pods;
use crate::world::World;

pub(crate) struct Clean {
    trial: Arc<ProofRun>,
    seen: Mutex<Sightings>,
}

impl Clean {
    pub(crate) fn new(trial: &Arc<ProofRun>) -> Self {
        Self {
            trial: Arc::clone(trial),
            seen: Mutex::default(),
        }
    }

    /// VMs of this run's proof that have no Node though they had the time to join. None where the proof succeeded: what is without a
    /// Node then belongs to somebody else's pods and is still joining, as is what is younger.
    async fn never_joined(&self, world: &World, kubernetes: &Kubernetes) -> Result<NeverJoined> {
        let before = {
            let progress = self.trial.progress();
            if !progress.started || progress.removed {
                return Ok(NeverJoined::default());
            }
            progress.vms_before.clone()
        };
        let daemon = &self.trial.daemon;
        let mut found = orphans::never_joined(world, kubernetes, daemon, JOIN).await?;
        found.names.retain(|vm| !before.contains(vm));
        Ok(found)
    }

    fn seen(&self) -> MutexGuard<'_, Sightings> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of these, and says which of them go now.
    fn confirmed(&self, found: &NeverJoined) -> BTreeSet<String> {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.see(now, &found.names);
        seen.confirmed(now, found.of)
    }
}

#[async_trait]
impl Step<World> for Clean {
    fn meta(&self) -> Meta {
        Meta::new(
            self.trial.id(StepName::ProofClean),
            format!("Leave nothing of the proof of {}", self.trial.daemon.group),
            format!(
                "slicer-k3s kubectl delete pod -n {} -l {}={}",
                pods::NAMESPACE,
                PROOF_LABEL,
                self.trial.daemon.group
            ),
        )
        // Without it no proof was begun, and nothing answers.
        .needs([StepName::AutoscalerRunning.on_cluster()])
        .after([
            self.trial.id(StepName::ScaleUp),
            self.trial.id(StepName::ScaleDown),
        ])
        .timeout(Duration::from_mins(1))
        .poll_interval(Duration::from_secs(2))
        .code(Code::Proof)
        .reapply()
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let found = self.never_joined(world, &kubernetes).await?;
        let confirmed = self.confirmed(&found);
        let pods = pods::list(&kubernetes, &self.trial.daemon.group).await?;
        Ok(match (pods.len(), confirmed.first(), found.names.first()) {
            (0, None, None) => Finding::done(),
            (0, None, Some(vm)) => Finding::Unknown(format!(
                "{vm} never joined; it goes if a later list says so, too"
            )),
            (0, Some(vm), _) => Finding::differs(format!("{vm} never joined")),
            (count, ..) => Finding::differs(format!("{count} pods of a proof are left")),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let daemon = &self.trial.daemon;
        // Pods first, or the autoscaler would make the next VM for them.
        pods::delete(&kubernetes, permit, &daemon.group).await?;
        let found = self.never_joined(world, &kubernetes).await?;
        let confirmed = self.confirmed(&found);
        if confirmed.is_empty() {
            return Ok(());
        }
        let local_data = self.trial.local_data;
        orphans::delete(world, &kubernetes, permit, daemon, &confirmed, local_data).await?;
        self.seen().next_pass(Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::APART;
    use crate::testing::{Fake, permit, world};

    const NODES: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"k3s-cp-1"},"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"1970-01-01T00:00:00Z"}]}}]}"#;

    /// A server at 900 s, with these volumes and no pods.
    fn server(volumes: &str) -> Fake {
        Fake::new()
            .says("/pods?", r#"{"kind":"List","metadata":{},"items":[]}"#)
            .says("/persistentvolumes?", volumes)
            .says("/nodes?", NODES)
            .says("date -d", "900\n")
    }

    /// ryzen at 900 s, with these VMs.
    fn host(vms: &str) -> Fake {
        Fake::new()
            .says("auth/token", "t0ken\n")
            .says("date -d", "900\n")
            .says("GET /hostgroup/k3s-agents-1/nodes", vms)
            .says("DELETE /", "")
    }

    /// A VM that the autoscaler had made seconds before, for pods of someone else, went with those of the proof that failed.
    #[tokio::test(start_paused = true)]
    async fn after_a_failed_proof_only_vms_go_that_had_the_time_to_join() {
        let (server, host) = (
            server(r#"{"kind":"List","metadata":{},"items":[]}"#),
            host(
                r#"[{"hostname":"k3s-agents-1-1","created_at":"1970-01-01T00:00:00Z"},
                    {"hostname":"k3s-agents-1-2","created_at":"1970-01-01T00:00:00Z"},
                    {"hostname":"k3s-agents-1-3","created_at":"1970-01-01T00:14:00Z"},
                    {"hostname":"mine","created_at":"1970-01-01T00:00:00Z"}]"#,
            ),
        );
        let trial = super::super::trial(true);
        {
            let mut progress = trial.progress();
            progress.started = true;
            progress.vms_before = BTreeSet::from(["k3s-agents-1-1".to_owned()]);
        }
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let step = Clean::new(&trial);
        let found = step.check(&world, Phase::Before).await.unwrap();
        assert!(matches!(found, Finding::Unknown(_)), "{found:?}");
        step.apply(&world, &permit()).await.unwrap();
        assert!(!host.was_told("DELETE"), "one list was enough");
        tokio::time::advance(APART).await;
        let found = step.check(&world, Phase::After).await.unwrap();
        assert_eq!(found, Finding::differs("k3s-agents-1-2 never joined"));
        step.apply(&world, &permit()).await.unwrap();
        for (vm, gone) in [
            ("k3s-agents-1-2", true),
            ("k3s-agents-1-1", false),
            ("k3s-agents-1-3", false),
            ("mine", false),
        ] {
            let told = host.was_told(&format!("DELETE /hostgroup/k3s-agents-1/nodes/{vm}"));
            assert_eq!(told, gone, "{vm}");
        }
    }

    /// The flag was given to `init` or `rotate-token`, and the proof at their end refused what it allows.
    #[tokio::test(start_paused = true)]
    async fn data_on_such_a_vm_goes_where_the_run_was_allowed_to_delete_it() {
        let volumes = r#"{"kind":"List","metadata":{},"items":[{"spec":{"local":{},"claimRef":{"namespace":"a","name":"b"},
            "nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["k3s-agents-1-2"]}]}]}}}}]}"#;
        for allowed in [false, true] {
            let server = server(volumes);
            let host =
                host(r#"[{"hostname":"k3s-agents-1-2","created_at":"1970-01-01T00:00:00Z"}]"#);
            let mut trial = super::super::trial(true);
            Arc::get_mut(&mut trial).unwrap().local_data = allowed;
            trial.progress().started = true;
            let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
            let step = Clean::new(&trial);
            step.check(&world, Phase::Before).await.unwrap();
            tokio::time::advance(APART).await;
            let ended = step.apply(&world, &permit()).await;
            assert_eq!(host.was_told("DELETE"), allowed);
            assert_eq!(
                ended.err().map(|it| it.code),
                (!allowed).then_some(Code::LocalData)
            );
        }
    }

    #[tokio::test]
    async fn pods_that_a_killed_run_left_are_noticed() {
        let fake = Fake::new().says("/pods?", r#"{"kind":"List","metadata":{},"items":[{}]}"#);
        let step = Clean::new(&super::super::trial(false));
        let found = step
            .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Differs(_)));
    }
}
