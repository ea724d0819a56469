//! The autoscaler is gone, so that it makes no VMs while others are removed. Servers that are all off or silent run none; one that
//! refuses us may.

use std::time::Duration;

use async_trait::async_trait;

use crate::deletion::DeletableObject;
use crate::failure::Result;
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::{StepId, StepName};
use crate::steps::support::api;
use crate::steps::support::api::Api;
use crate::world::World;

pub(crate) struct AutoscalerGone {
    after: Vec<StepId>,
}

impl AutoscalerGone {
    pub(crate) fn new(after: &[StepId]) -> Self {
        Self {
            after: after.to_vec(),
        }
    }
}

/// What makes and runs it: deleted in this order.
const KINDS: [&str; 2] = ["helmchart", "deployment"];

#[async_trait]
impl Step<World> for AutoscalerGone {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::AutoscalerGone.on_cluster(),
            "Stop the autoscaler",
            format!("slicer-k3s kubectl get pods -n {NAMESPACE}"),
        )
        .after(self.after.clone())
        .timeout(Duration::from_secs(40))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = match api::api(world).await? {
            Api::Ready(kubernetes) => kubernetes,
            Api::Down(why) => return Ok(Finding::Done(format!("no server's API answers: {why}"))),
        };
        for kind in KINDS {
            let object = [kind, "-n", NAMESPACE, AUTOSCALER];
            if let Some(found) = kubernetes.get(&object).await?
                && found["metadata"]["deletionTimestamp"].is_null()
            {
                return Ok(Finding::differs(format!("its {kind} is there")));
            }
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let Api::Ready(kubernetes) = api::api(world).await? else {
            return Ok(());
        };
        for kind in KINDS {
            let object = DeletableObject::ours(kind, NAMESPACE, AUTOSCALER);
            kubernetes.delete(permit, &object).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    /// `destroy` went on beside an autoscaler that made new VMs.
    #[tokio::test(start_paused = true)]
    async fn only_servers_that_are_all_off_have_no_autoscaler() {
        let refuses = Fake::new()
            .says("auth/token", "t0ken\n")
            .answers("POST /vm/", 401, "{}");
        let step = AutoscalerGone::new(&[]);
        assert!(
            step.check(&world(&[("n100", &refuses)]), Phase::Before)
                .await
                .is_err()
        );
        let off = step.check(&world(&[]), Phase::Before).await.unwrap();
        assert!(matches!(off, Finding::Done(_)), "{off:?}");
        // Its host was installed anew, or Slicer was removed from it.
        let purged = Fake::new().answers("auth/token", 1, "");
        let found = step
            .check(&world(&[("n100", &purged)]), Phase::Before)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Done(_)), "{found:?}");
        // The first server is down, and the third has it.
        let third = Fake::new()
            .says("/readyz", "ok")
            .says("/helmcharts/", r#"{"metadata":{}}"#);
        let silent = Fake::new()
            .says("auth/token", "t0ken\n")
            .answers("POST /vm/", 503, "{}");
        let world = world(&[("n100", &silent), ("k3s-cp-3", &third)]);
        let found = step.check(&world, Phase::Before).await.unwrap();
        assert_eq!(found, Finding::differs("its helmchart is there"));
    }
}
