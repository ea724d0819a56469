//! The autoscaler counts its groups' Nodes when it starts, and from then on only what it does itself: whatever goes behind
//! its back is "upcoming" to it for ever, takes up pods that wait, and nothing grows. So it is started anew.
//!
//! Source: Slicer's provider keeps its target size in memory; cluster-autoscaler corrects it only for a group that has Nodes.

use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::pipeline::WritePermit;

/// Starts it anew, where it is deployed.
pub(crate) async fn restart_autoscaler(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
) -> Result<()> {
    let deployment = kubernetes.get(&["deployment", "-n", NAMESPACE, AUTOSCALER]);
    if deployment.await?.is_none() {
        return Ok(());
    }
    let workload = format!("deployment/{AUTOSCALER}");
    kubernetes.restart(permit, NAMESPACE, &workload).await
}
