//! The autoscaler has a pod to run again, whatever became of the step that waits for it: it was stopped for a drain.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct AutoscalerResumed;

/// Whether its Deployment asks for no pod.
async fn is_stopped(kubernetes: &Kubernetes) -> Result<bool> {
    let deployment = kubernetes.get(&["deployment", "-n", NAMESPACE, AUTOSCALER]);
    let deployment = deployment.await?;
    Ok(deployment.is_some_and(|deployment| deployment["spec"]["replicas"] == 0))
}

/// Gives it its pod again, where it was stopped; whether it was.
pub(crate) async fn resume(kubernetes: &Kubernetes, permit: &WritePermit) -> Result<bool> {
    let stopped = is_stopped(kubernetes).await?;
    if stopped {
        kubernetes.scale(permit, NAMESPACE, AUTOSCALER, 1).await?;
    }
    Ok(stopped)
}

#[async_trait]
impl Step<World> for AutoscalerResumed {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::AutoscalerResumed.on_cluster(),
            "Leave the autoscaler running",
            "slicer-k3s init starts it, once a server answers",
        )
        .after([StepName::AutoscalerRunning.on_cluster()])
        .timeout(Duration::from_mins(1))
        .code(Code::Autoscaler)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        Ok(if is_stopped(&world.kubernetes().await?).await? {
            Finding::differs("it was stopped: it has no pod")
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        resume(&world.kubernetes().await?, permit).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    /// A drain stops it, and the step that waits for it is skipped where anything before it failed.
    #[tokio::test]
    async fn an_autoscaler_without_a_pod_gets_one() {
        for (replicas, scaled) in [(0, true), (1, false)] {
            let deployment = format!(r#"{{"spec":{{"replicas":{replicas}}}}}"#);
            let fake = Fake::new().says("deployment", &deployment);
            let world = world(&[("k3s-cp-1", &fake)]);
            let found = AutoscalerResumed
                .check(&world, Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Differs(_)), scaled);
            AutoscalerResumed.apply(&world, &permit()).await.unwrap();
            assert_eq!(fake.was_told("--replicas 1"), scaled);
        }
    }
}
