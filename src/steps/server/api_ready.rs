//! The cluster's API can be had: some server's own API is ready. Which one is remembered for the run.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::Plan;
use crate::step_id::{StepId, StepName};
use crate::world::World;

pub(crate) struct ApiReady {
    needs: Vec<StepId>,
    after: Vec<StepId>,
}

/// What a step needs that asks the API.
pub(crate) fn needed(plan: &Plan) -> Vec<StepId> {
    plan.servers_here()
        .take(1)
        .map(|_| StepName::ApiReady.on_cluster())
        .collect()
}

impl ApiReady {
    /// Where a server's host is there. The first server founds a cluster, and nothing can be had without it; of one that is
    /// founded any server will do, also while the first one does not start.
    pub(crate) fn new(plan: &Plan) -> Option<Self> {
        let first = plan.servers_here().next()?;
        let first = vec![StepName::K3sStarted.on(&first.name)];
        let (needs, after) = match plan.founded {
            None => (first, Vec::new()),
            Some(_) => (Vec::new(), first),
        };
        Some(Self { needs, after })
    }
}

#[async_trait]
impl Step<World> for ApiReady {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ApiReady.on_cluster(),
            "Find a server whose API is ready",
            "slicer-k3s status shows what each server lacks",
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        .timeout(Duration::from_mins(2))
        .code(Code::K3sStart)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let server = world.ready_server().await?;
        Ok(Finding::Done(server.name().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Founded;
    use crate::testing::{Fake, plan, world};

    fn founded() -> Plan {
        Plan {
            founded: Some(Founded {
                ca: "c0ffee".into(),
                voters: ["k3s-cp-1".to_owned()].into(),
            }),
            ..plan()
        }
    }

    /// With the first server's disk full, `init` did nothing about the autoscaler, with two servers that were fine.
    #[tokio::test(start_paused = true)]
    async fn any_server_will_do_once_there_is_a_cluster() {
        let started = vec![StepName::K3sStarted.on("k3s-cp-1")];
        let founding = ApiReady::new(&plan()).unwrap();
        assert_eq!(
            (founding.meta().needs, founding.meta().after),
            (started.clone(), vec![])
        );
        let later = ApiReady::new(&founded()).unwrap();
        assert_eq!((later.meta().needs, later.meta().after), (vec![], started));
        let (sick, well) = (Fake::new().says("/readyz", "no"), Fake::new());
        let two = world(&[("k3s-cp-1", &sick), ("k3s-cp-2", &well)]);
        let found = later.check(&two, Phase::Before).await.unwrap();
        assert_eq!(found, Finding::Done("k3s-cp-2".into()));
        let none = world(&[("k3s-cp-1", &sick)]);
        assert!(later.check(&none, Phase::Before).await.is_err());
    }
}
