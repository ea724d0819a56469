//! The autoscaler is gone, so that it makes no VMs while others are removed. Best effort: servers that do not answer run
//! no autoscaler for long, because they go next.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::Result;
use crate::generate::{AUTOSCALER, NAMESPACE};
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::question::limited;
use crate::steps::CLUSTER;
use crate::world::World;

pub(super) struct AutoscalerGone {
    after: Vec<StepId>,
}

pub(super) fn id() -> StepId {
    StepId::new("autoscaler-gone", CLUSTER)
}

impl AutoscalerGone {
    pub(super) fn new(after: &[StepId]) -> Self {
        Self {
            after: after.to_vec(),
        }
    }
}

/// kubectl where a server answers in time.
async fn kubernetes(world: &World) -> Option<Kubernetes> {
    let found = limited(Duration::from_secs(20), world.kubernetes()).await;
    found.ok()?.ok()
}

#[async_trait]
impl Step for AutoscalerGone {
    fn id(&self) -> StepId {
        id()
    }

    fn title(&self) -> String {
        "Stop the autoscaler".into()
    }

    fn after(&self) -> Vec<StepId> {
        self.after.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(40)
    }

    fn hint(&self) -> String {
        format!("slicer-k3s kubectl get pods -n {NAMESPACE}")
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let Some(kubernetes) = kubernetes(world).await else {
            return Ok(Finding::Done("no server answers".into()));
        };
        for kind in ["helmchart", "deployment"] {
            let object = [kind, "-n", NAMESPACE, AUTOSCALER];
            match kubernetes.get(&object).await {
                Ok(Some(found)) if found["metadata"]["deletionTimestamp"].is_null() => {
                    return Ok(Finding::differs(format!("its {kind} is there")));
                }
                Ok(_) => {}
                Err(failure) => {
                    return Ok(Finding::Done(format!("the API does not answer: {failure}")));
                }
            }
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let Some(kubernetes) = kubernetes(world).await else {
            return Ok(());
        };
        for kind in ["helmchart", "deployment"] {
            kubernetes
                .delete(hands, &[kind, "-n", NAMESPACE, AUTOSCALER])
                .await?;
        }
        Ok(())
    }
}
