//! A group has no Nodes: one that outlives its VM is a ghost, which a new VM of the same name would be mistaken for.

use async_trait::async_trait;

use crate::deletion::DeletableObject;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::{StepId, StepName};
use crate::steps::group::parts::nodes::selector;
use crate::world::World;

pub(crate) struct NodesGone {
    group: String,
    needs: Vec<StepId>,
}

impl NodesGone {
    /// Once its VMs are gone, or nobody can tell any more.
    pub(crate) fn new(group: &str, needs: &[StepId]) -> Self {
        Self {
            group: group.to_owned(),
            needs: needs.to_vec(),
        }
    }
}

#[async_trait]
impl Step<World> for NodesGone {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::NodesGone.on(&self.group),
            format!("Remove the Nodes of {}", self.group),
            format!("slicer-k3s kubectl get nodes -l {}", selector(&self.group)),
        )
        .needs(self.needs.clone())
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let selector = selector(&self.group);
        let nodes = kubernetes
            .list_metadata(&["nodes", "-l", &selector])
            .await?;
        Ok(match nodes.first() {
            Some(node) => {
                let name = node["metadata"]["name"].as_str().unwrap_or_default();
                Finding::differs(format!("Node {name} is there"))
            }
            None => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let nodes = DeletableObject::nodes_of_named(&self.group).ok_or_else(|| {
            let what = format!("{} is no name of a group of ours", self.group);
            Failure::new(Code::Kubernetes, what).permanent()
        })?;
        world.kubernetes().await?.delete(permit, &nodes).await
    }
}
