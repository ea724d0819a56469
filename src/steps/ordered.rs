//! A step that waits for more than it would by itself.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::Result;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::world::World;

pub(super) struct Ordered<S> {
    step: S,
    needs: Vec<StepId>,
}

impl<S: Step> Ordered<S> {
    /// `step`, once `needs` hold too.
    pub(super) fn new(step: S, needs: &[StepId]) -> Self {
        Self {
            step,
            needs: needs.to_vec(),
        }
    }
}

#[async_trait]
impl<S: Step> Step for Ordered<S> {
    fn id(&self) -> StepId {
        self.step.id()
    }

    fn title(&self) -> String {
        self.step.title()
    }

    fn needs(&self) -> Vec<StepId> {
        let mut needs = self.step.needs();
        needs.extend(self.needs.iter().cloned());
        needs
    }

    fn after(&self) -> Vec<StepId> {
        self.step.after()
    }

    fn patience(&self) -> Duration {
        self.step.patience()
    }

    fn pace(&self) -> Duration {
        self.step.pace()
    }

    fn hint(&self) -> String {
        self.step.hint()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        self.step.check(world).await
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        self.step.apply(world, hands).await
    }
}
