//! Nothing is left of this run's proof, however it ended: no pod, and no VM that was made for it and never joined.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Trial, pods, scale_down, scale_up};
use crate::failure::{Code, Result};
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::steps::orphans;
use crate::world::World;

pub(super) const NAME: &str = "proof-clean";

pub(super) struct Clean {
    trial: Arc<Trial>,
}

impl Clean {
    pub(super) fn new(trial: &Arc<Trial>) -> Self {
        Self {
            trial: Arc::clone(trial),
        }
    }

    /// VMs of this run's proof that have no Node though its patience is over. None where the proof succeeded: what is
    /// without a Node then belongs to somebody else's pods and is still joining.
    async fn never_joined(
        &self,
        world: &World,
        kubernetes: &Kubernetes,
    ) -> Result<BTreeSet<String>> {
        let before = {
            let progress = self.trial.progress();
            if !progress.started || progress.removed {
                return Ok(BTreeSet::new());
            }
            progress.vms_before.clone()
        };
        let mut vms = orphans::find(world, kubernetes, &self.trial.daemon)
            .await?
            .names();
        vms.retain(|vm| !before.contains(vm));
        Ok(vms)
    }
}

#[async_trait]
impl Step for Clean {
    fn id(&self) -> StepId {
        self.trial.id(NAME)
    }

    fn title(&self) -> String {
        format!("Leave nothing of the proof of {}", self.trial.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        // Without it no proof was begun, and nothing answers.
        vec![crate::steps::autoscaler_running::id()]
    }

    fn after(&self) -> Vec<StepId> {
        vec![
            self.trial.id(scale_up::NAME),
            self.trial.id(scale_down::NAME),
        ]
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn code(&self) -> Code {
        Code::Proof
    }

    fn hint(&self) -> String {
        format!(
            "slicer-k3s kubectl delete pod -n {} -l {}={}",
            pods::NAMESPACE,
            pods::LABEL,
            self.trial.daemon.group
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let orphans = self.never_joined(world, &kubernetes).await?;
        if let Some(vm) = orphans.first() {
            return Ok(Finding::differs(format!("{vm} never joined")));
        }
        let pods = pods::list(&kubernetes, &self.trial.daemon.group).await?;
        Ok(match pods.len() {
            0 => Finding::done(),
            count => Finding::differs(format!("{count} pods of a proof are left")),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let daemon = &self.trial.daemon;
        // Pods first, or the autoscaler would make the next VM for them.
        pods::delete(&kubernetes, hands, &daemon.group).await?;
        let doomed = self.never_joined(world, &kubernetes).await?;
        orphans::delete(world, &kubernetes, hands, daemon, &doomed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{Fake, world};

    #[tokio::test]
    async fn pods_that_a_killed_run_left_are_noticed() {
        let fake = Fake::new().says("/pods?", r#"{"kind":"List","metadata":{},"items":[{}]}"#);
        let step = Clean::new(&super::super::trial(false));
        let found = step.check(&world(&[("k3s-cp-1", &fake)])).await.unwrap();
        assert!(matches!(found, Finding::Differs(_)));
    }
}
