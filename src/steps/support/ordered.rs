//! A step that waits for more than it would by itself.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Step, WritePermit};
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
        let mut after = self.step.after();
        after.extend(self.after.iter().cloned());
        after
    }

    fn patience(&self) -> Duration {
        self.step.patience()
    }

    fn pace(&self) -> Duration {
        self.step.pace()
    }

    fn code(&self) -> Code {
        self.step.code()
    }

    fn hint(&self) -> String {
        self.step.hint()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        self.step.check(world).await
    }

    async fn diff(&self, world: &World) -> Result<String> {
        self.step.diff(world).await
    }

    async fn last_words(&self, world: &World) -> Option<String> {
        self.step.last_words(world).await
    }

    fn again(&self) -> bool {
        self.step.again()
    }

    async fn stopped(&self, world: &World, permit: &WritePermit) -> Option<String> {
        self.step.stopped(world, permit).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        self.step.apply(world, permit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step_id::StepName;
    use crate::testing::{permit, world};

    /// Nothing that it tells of itself is the default's.
    struct Odd;

    #[async_trait]
    impl Step<World> for Odd {
        fn id(&self) -> StepId {
            StepName::Chart.on("x")
        }
        fn title(&self) -> String {
            "Odd".into()
        }
        fn code(&self) -> Code {
            Code::K3sStart
        }
        fn hint(&self) -> String {
            "look".into()
        }
        async fn check(&self, _: &World) -> Result<Finding> {
            Ok(Finding::done())
        }
        async fn diff(&self, _: &World) -> Result<String> {
            Ok("+a".into())
        }
        async fn last_words(&self, _: &World) -> Option<String> {
            Some("out of memory".into())
        }
        fn again(&self) -> bool {
            true
        }
        async fn stopped(&self, _: &World, _: &WritePermit) -> Option<String> {
            Some("stopped".into())
        }
        async fn apply(&self, _: &World, _: &WritePermit) -> Result<()> {
            Ok(())
        }
    }

    /// A rotation's failures were told with a general code and without the machine's last words.
    #[tokio::test]
    async fn only_what_it_waits_for_is_another() {
        let needs = [StepName::VmUp.on("x")];
        let step = Ordered::new(Odd, &needs);
        assert_eq!(
            (step.needs(), step.code()),
            (needs.to_vec(), Code::K3sStart)
        );
        let world = world(&[]);
        assert_eq!(step.diff(&world).await.unwrap(), "+a");
        assert_eq!(step.last_words(&world).await.unwrap(), "out of memory");
        let said = step.stopped(&world, &permit()).await;
        assert!(step.again() && said.unwrap() == "stopped");
    }
}
