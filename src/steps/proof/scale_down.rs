//! Without the pod the agent went: its Node *and* its VM. Unless somebody else's pod has come to run there, which was
//! pending when the agent came: then it is theirs, and the autoscaler is right to keep it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ProofRun;
use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepName;
use crate::steps::group::parts::nodes;
use crate::steps::proof::parts::pods;
use crate::world::World;

pub(crate) struct ScaleDown {
    trial: Arc<ProofRun>,
}

impl ScaleDown {
    pub(crate) fn new(trial: &Arc<ProofRun>) -> Self {
        Self {
            trial: Arc::clone(trial),
        }
    }
}

#[async_trait]
impl Step<World> for ScaleDown {
    fn meta(&self) -> Meta {
        Meta::new(
            self.trial.id(StepName::ScaleDown),
            format!("Prove that {} scales down", self.trial.daemon.group),
            "slicer-k3s logs autoscaler --since 15m --grep \"cannot be removed\" names the pods \
             that keep a Node, --grep unremovable the load",
        )
        .needs([self.trial.id(StepName::ScaleUp)])
        // It takes away what that looks at.
        .after([self.trial.id(StepName::AgentPath)])
        // 30 s after the last addition, 30 s unneeded, loops of 10 s, and the VM's end.
        .timeout(Duration::from_mins(5))
        .code(Code::Proof)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
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
        let nodes = nodes::list(&kubernetes, &self.trial.daemon.group).await?;
        let vms = super::vms(world, &self.trial.daemon).await?;
        let min = self.trial.daemon.min as usize;
        if min > 0 && vms.len() <= min && nodes.len() <= min {
            return Ok(Finding::Done(format!("{min} kept, as min says")));
        }
        let mut kept = Vec::new();
        for (node, vm) in &used {
            if nodes.iter().any(|present| present.name == *node) {
                let Some(pod) = pods::blocking_pod(&kubernetes, node).await? else {
                    return Ok(Finding::Unknown(format!("Node {node} is still there")));
                };
                kept.push(format!("{node} stays, {pod} runs on it"));
                continue;
            }
            if vms.contains(vm) {
                return Ok(Finding::Unknown(format!("VM {vm} is still there")));
            }
        }
        Ok(Finding::Done(kept.join("; ")))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        pods::remove(&kubernetes, permit, &self.trial.daemon.group, false).await?;
        self.trial.progress().removed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    const AGENT: &str = "k3s-agents-1-1";
    const NODES: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n","labels":{"slicer/hostname":"k3s-agents-1-1"}}}]}"#;
    const THEIRS: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"namespace":"default","name":"web-0"},"status":{"phase":"Running"}}]}"#;
    const OWN: &str = r#"{"kind":"List","metadata":{},"items":[
        {"metadata":{"name":"going","labels":{"slicer-k3s.dev/proof":"k3s-agents-1"}}},
        {"metadata":{"name":"lb","ownerReferences":[{"kind":"DaemonSet"}]}},
        {"metadata":{"name":"job"},"status":{"phase":"Succeeded"}}]}"#;

    /// A pod that waited for an agent is free to take the proof's; no autoscaler would remove that.
    #[tokio::test]
    async fn an_agent_that_somebody_else_came_to_need_is_theirs() {
        let stays = Finding::Done("n stays, default/web-0 runs on it".into());
        let goes = Finding::Unknown("Node n is still there".into());
        for (pods, expected) in [(THEIRS, stays), (OWN, goes)] {
            let server = Fake::new()
                .says("/nodes?", NODES)
                .says("spec.nodeName", pods);
            let host = Fake::new().says("auth/token", "t0ken\n").says(
                "GET /hostgroup/k3s-agents-1/nodes",
                r#"[{"hostname":"k3s-agents-1-1"}]"#,
            );
            let trial = super::super::trial(true);
            {
                let mut progress = trial.progress();
                progress.removed = true;
                progress.nodes = vec![("n".into(), AGENT.into())];
            }
            let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
            let found = ScaleDown::new(&trial)
                .check(&world, Phase::Before)
                .await
                .unwrap();
            assert_eq!(found, expected);
        }
    }
}
