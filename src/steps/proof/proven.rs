//! The cluster remembers that the group was proven in this form.

use std::sync::Arc;

use async_trait::async_trait;

use super::ProofRun;
use crate::failure::Result;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepName;
use crate::steps::proof::parts::record;
use crate::world::World;

pub(crate) struct Proven {
    trial: Arc<ProofRun>,
}

impl Proven {
    pub(crate) fn new(trial: &Arc<ProofRun>) -> Self {
        Self {
            trial: Arc::clone(trial),
        }
    }
}

#[async_trait]
impl Step<World> for Proven {
    fn meta(&self) -> Meta {
        Meta::new(
            self.trial.id(StepName::Proven),
            format!("Remember that {} was proven", self.trial.daemon.group),
            record::hint(),
        )
        .needs(
            [
                StepName::AgentPath,
                StepName::ScaleDown,
                StepName::ProofClean,
            ]
            .map(|name| self.trial.id(name)),
        )
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        // Side by side: both are in one answer.
        let (proven, begun) = tokio::try_join!(
            record::read(&kubernetes, &self.trial),
            record::begun(&kubernetes, &self.trial.daemon.group)
        )?;
        Ok(if !proven {
            Finding::differs("it is not on record")
        } else if begun.is_some() {
            // It was proven again: the next run must not look for what that left.
            Finding::differs("it is on record as begun")
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        record::remember(&kubernetes, permit, &self.trial).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    #[tokio::test]
    async fn another_form_of_the_group_is_not_on_record() {
        for (data, done) in [
            (r#""k3s-agents-1":"f00""#, true),
            (r#""k3s-agents-1":"old""#, false),
            // After `prove` the next `init` found something to do.
            (r#""k3s-agents-1":"f00","k3s-agents-1.begun":"""#, false),
        ] {
            let fake = Fake::new().says("/configmaps/", &format!(r#"{{"data":{{{data}}}}}"#));
            let step = Proven::new(&super::super::trial(false));
            let found = step
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done);
        }
    }
}
