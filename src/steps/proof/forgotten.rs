//! Nothing is on record of a group that left: where it is made again under the same name and address, its daemon, routes and
//! token are others, and nothing has been seen to work yet.

use async_trait::async_trait;

use crate::failure::Result;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::{StepId, StepName};
use crate::steps::proof::parts::record;
use crate::world::World;

pub(crate) struct Forgotten {
    group: String,
    needs: Vec<StepId>,
}

impl Forgotten {
    /// Of a group whose Nodes are gone.
    pub(crate) fn new(group: &str, needs: &[StepId]) -> Self {
        Self {
            group: group.to_owned(),
            needs: needs.to_vec(),
        }
    }
}

#[async_trait]
impl Step<World> for Forgotten {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ProofForgotten.on(&self.group),
            format!("Drop the record that {} was proven", self.group),
            record::hint(),
        )
        .needs(self.needs.clone())
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        Ok(if record::knows(&kubernetes, &self.group).await? {
            Finding::differs("it is on record")
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        record::discard(&kubernetes, permit, &self.group).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    #[tokio::test]
    async fn both_records_of_the_group_go_and_no_others() {
        let step = Forgotten::new("k3s-agents-1", &[]);
        for (data, done) in [
            (r#""k3s-agents-1":"f00","k3s-agents-2":"bar""#, false),
            (r#""k3s-agents-1.begun":"""#, false),
            (r#""k3s-agents-2":"bar""#, true),
        ] {
            let fake = Fake::new().says("/configmaps/", &format!(r#"{{"data":{{{data}}}}}"#));
            let found = step
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{data}");
        }
        let fake = Fake::new();
        let world = world(&[("k3s-cp-1", &fake)]);
        assert_eq!(
            step.check(&world, Phase::Before).await.unwrap(),
            Finding::done()
        );
        step.apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told(r#""k3s-agents-1":null"#));
        assert!(fake.was_told(r#""k3s-agents-1.begun":null"#));
        assert!(!fake.was_told("k3s-agents-2"));
    }
}
