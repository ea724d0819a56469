//! A step that waits for more than it would by itself.

use async_trait::async_trait;

use crate::failure::Result;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepId;
use crate::world::World;

pub(crate) struct Ordered<S> {
    step: S,
    needs: Vec<StepId>,
    after: Vec<StepId>,
}

impl<S: Step<World>> Ordered<S> {
    /// `step`, once `needs` hold too.
    pub(crate) fn new(step: S, needs: &[StepId]) -> Self {
        Self {
            step,
            needs: needs.to_vec(),
            after: Vec::new(),
        }
    }

    /// And once `after` have been tried, well or not.
    pub(crate) fn behind(mut self, after: &[StepId]) -> Self {
        self.after.extend_from_slice(after);
        self
    }
}

#[async_trait]
impl<S: Step<World>> Step<World> for Ordered<S> {
    fn meta(&self) -> Meta {
        let meta = self.step.meta();
        meta.needs(self.needs.clone()).after(self.after.clone())
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        self.step.check(world, phase).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        self.step.apply(world, permit).await
    }

    async fn diff(&self, world: &World) -> Result<String> {
        self.step.diff(world).await
    }

    async fn diagnose(&self, world: &World) -> Option<String> {
        self.step.diagnose(world).await
    }

    async fn cancel(&self, world: &World, permit: &WritePermit) -> Option<String> {
        self.step.cancel(world, permit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;
    use crate::step_id::StepName;
    use crate::testing::{permit, world};

    /// Nothing that it tells of itself is the default's.
    struct Odd;

    #[async_trait]
    impl Step<World> for Odd {
        fn meta(&self) -> Meta {
            Meta::new(StepName::Chart.on("x"), "Odd", "look")
                .code(Code::K3sStart)
                .reapply()
        }

        async fn check(&self, _: &World, _: Phase) -> Result<Finding> {
            Ok(Finding::done())
        }
        async fn diff(&self, _: &World) -> Result<String> {
            Ok("+a".into())
        }
        async fn diagnose(&self, _: &World) -> Option<String> {
            Some("out of memory".into())
        }
        async fn cancel(&self, _: &World, _: &WritePermit) -> Option<String> {
            Some("stopped".into())
        }
    }

    /// A rotation's failures were told with a general code and without the machine's last words.
    #[tokio::test]
    async fn only_what_it_waits_for_is_another() {
        let needs = [StepName::VmUp.on("x")];
        let step = Ordered::new(Odd, &needs);
        let meta = step.meta();
        assert_eq!((meta.needs, meta.code), (needs.to_vec(), Code::K3sStart));
        let world = world(&[]);
        assert_eq!(step.diff(&world).await.unwrap(), "+a");
        assert_eq!(step.diagnose(&world).await.unwrap(), "out of memory");
        let said = step.cancel(&world, &permit()).await;
        assert!(meta.reapply && said.unwrap() == "stopped");
    }
}
