//! Without the pod the agent went: its Node *and* its VM.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Trial, agent_path, pods, scale_up};
use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::steps::group_nodes;
use crate::world::World;

pub(super) const NAME: &str = "scale-down";

pub(super) struct ScaleDown {
    trial: Arc<Trial>,
}

impl ScaleDown {
    pub(super) fn new(trial: &Arc<Trial>) -> Self {
        Self {
            trial: Arc::clone(trial),
        }
    }
}

#[async_trait]
impl Step for ScaleDown {
    fn id(&self) -> StepId {
        self.trial.id(NAME)
    }

    fn title(&self) -> String {
        format!("Prove that {} scales down", self.trial.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![self.trial.id(scale_up::NAME)]
    }

    /// It takes away what that looks at.
    fn after(&self) -> Vec<StepId> {
        vec![self.trial.id(agent_path::NAME)]
    }

    fn patience(&self) -> Duration {
        // 30 s after the last addition, 30 s unneeded, loops of 10 s, and the VM's end.
        Duration::from_mins(5)
    }

    fn code(&self) -> Code {
        Code::Proof
    }

    fn hint(&self) -> String {
        "slicer-k3s kubectl logs -n kube-system deployment/slicer-cluster-autoscaler --tail=80 (look for \"unremovable\")".into()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        if self.trial.stands(&kubernetes).await? {
            return Ok(Finding::Done("proven before".into()));
        }
        let (removed, used) = {
            let progress = self.trial.progress();
            (progress.removed, progress.nodes.clone())
        };
        if !removed {
            return Ok(Finding::differs("it was not proven yet"));
        }
        let nodes = group_nodes::list(&kubernetes, &self.trial.daemon.group).await?;
        let vms = super::vms(world, &self.trial.daemon).await?;
        let min = self.trial.daemon.min as usize;
        if min > 0 && vms.len() <= min && nodes.len() <= min {
            return Ok(Finding::Done(format!("{min} kept, as min says")));
        }
        for (node, vm) in &used {
            if nodes.iter().any(|present| present.name == *node) {
                return Ok(Finding::Unknown(format!("Node {node} is still there")));
            }
            if vms.contains(vm) {
                return Ok(Finding::Unknown(format!("VM {vm} is still there")));
            }
        }
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let selector = format!("{}={}", pods::LABEL, self.trial.daemon.group);
        world
            .kubernetes()
            .await?
            .delete(hands, &["pods", "-n", pods::NAMESPACE, "-l", &selector])
            .await?;
        self.trial.progress().removed = true;
        Ok(())
    }
}
