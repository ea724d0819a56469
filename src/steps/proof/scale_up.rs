//! A pod that needs a new agent of the group got one and runs on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::ProofRun;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::waiting;
use crate::names::slicer::CONSOLES;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepName;
use crate::steps::group::parts::nodes;
use crate::steps::proof::parts::{pods, record, silent};
use crate::steps::support::console;
use crate::world::World;

pub(crate) struct ScaleUp {
    trial: Arc<ProofRun>,
}

impl ScaleUp {
    pub(crate) fn new(trial: &Arc<ProofRun>) -> Self {
        Self {
            trial: Arc::clone(trial),
        }
    }
}

#[async_trait]
impl Step<World> for ScaleUp {
    fn meta(&self) -> Meta {
        Meta::new(
            self.trial.id(StepName::ScaleUp),
            format!("Prove that {} scales up", self.trial.daemon.group),
            format!(
                "slicer-k3s logs autoscaler --since 15m --grep {1}, and on {0}: sudo tail -n 40 \
                 {CONSOLES}/{1}-*.txt",
                self.trial.daemon.host, self.trial.daemon.group
            ),
        )
        .needs([self.trial.id(StepName::ProofLeftovers)])
        // VM, k3s's download and the image; the autoscaler itself gives up after 15 minutes.
        .timeout(Duration::from_mins(7))
        .poll_interval(Duration::from_millis(500))
        .code(Code::Proof)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        if self.trial.stands(&kubernetes).await? {
            return Ok(Finding::Done("proven before".into()));
        }
        if !self.trial.progress().started {
            return Ok(Finding::differs("it was not proven yet"));
        }
        let group = &self.trial.daemon.group;
        let pods = pods::list(&kubernetes, group).await?;
        if let Some(pod) = pods.iter().find(|pod| !pods::runs(pod)) {
            let nodes = nodes::list(&kubernetes, group).await?;
            let before = self.trial.progress().vms_before.clone();
            let vms = super::vms(world, &self.trial.daemon).await?;
            let new: Vec<&String> = vms.difference(&before).collect();
            let pod_waits = waiting(pod).unwrap_or("it is starting");
            let why = match new.as_slice() {
                [] => match silent::found(world, &kubernetes, &self.trial).await {
                    Some(silent) => format!("no VM yet: {silent}"),
                    // The scheduler goes on about each Node; a line has 80 columns.
                    None => format!(
                        "no VM yet: {}",
                        pod_waits.split(": ").next().unwrap_or_default()
                    ),
                },
                [vm, ..] => match nodes.iter().find(|node| node.vm == **vm) {
                    None => format!("{vm} has not joined yet"),
                    Some(node) if !node.ready => format!("{} is not Ready yet", node.name),
                    Some(node) => format!("{} is Ready: {pod_waits}", node.name),
                },
            };
            return Ok(Finding::Unknown(why));
        }
        if pods.is_empty() {
            return Err(Failure::new(Code::Proof, "the proof's pods are gone")
                .because("somebody else deleted them"));
        }
        let nodes = nodes::list(&kubernetes, group).await?;
        let used: Vec<(String, String)> = nodes
            .into_iter()
            .filter(|node| {
                pods.iter()
                    .any(|pod| pod["spec"]["nodeName"] == node.name.as_str())
            })
            .map(|node| (node.name, node.vm))
            .collect();
        let names: Vec<&str> = used.iter().map(|(node, _)| node.as_str()).collect();
        let note = names.join(", ");
        self.trial.progress().nodes = used;
        Ok(Finding::Done(note))
    }

    async fn diagnose(&self, world: &World) -> Option<String> {
        let before = self.trial.progress().vms_before.clone();
        let vms = super::vms(world, &self.trial.daemon).await.ok()?;
        let Some(vm) = vms.difference(&before).next() else {
            return silent::found(world, &world.kubernetes().await.ok()?, &self.trial).await;
        };
        let line = console::last_line(world, &self.trial.daemon, vm).await?;
        Some(format!("{vm}: {line}"))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let group = &self.trial.daemon.group;
        let vms = super::vms(world, &self.trial.daemon).await?;
        // A group that is full cannot grow: then it is proven that its agents run pods.
        let full = vms.len() >= self.trial.daemon.max as usize;
        let nodes = nodes::list(&kubernetes, group).await?;
        let busy = nodes.into_iter().map(|node| node.name);
        let busy: BTreeSet<String> = if full {
            BTreeSet::new()
        } else {
            busy.collect()
        };
        let list = pods::make(&self.trial, &busy, full)?;
        record::begin(&kubernetes, permit, group, &vms).await?;
        {
            let mut progress = self.trial.progress();
            progress.vms_before = vms;
            progress.started = true;
        }
        kubernetes.apply(permit, &list).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    #[tokio::test]
    async fn a_proof_that_stands_is_kept_unless_asked_for_again() {
        let fake = Fake::new().says("/configmaps/", r#"{"data":{"k3s-agents-1":"f00"}}"#);
        let world = world(&[("k3s-cp-1", &fake)]);
        let step = |again| ScaleUp::new(&super::super::trial(again));
        assert!(matches!(
            step(false).check(&world, Phase::Before).await.unwrap(),
            Finding::Done(_)
        ));
        assert!(matches!(
            step(true).check(&world, Phase::Before).await.unwrap(),
            Finding::Differs(_)
        ));
    }

    #[tokio::test]
    async fn running_pods_tell_their_nodes() {
        let fake = Fake::new()
            .says("/pods?", r#"{"kind":"List","metadata":{},"items":[{"metadata":{},"spec":{"nodeName":"a-1-ff"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}]}"#)
            .says("/nodes?", r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"a-1-ff","labels":{"slicer/hostname":"a-1"}}},{"metadata":{"name":"a-2-ff","labels":{"slicer/hostname":"a-2"}}}]}"#);
        let trial = super::super::trial(true);
        trial.progress().started = true;
        let step = ScaleUp::new(&trial);
        let found = step
            .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert_eq!(found, Finding::Done("a-1-ff".into()));
        assert_eq!(
            trial.progress().nodes,
            [("a-1-ff".to_owned(), "a-1".to_owned())]
        );
    }
}
