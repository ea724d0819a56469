//! The Nodes of a group of agents, as Kubernetes lists them.

use crate::agents::{GROUP_LABEL, VM_LABEL};
use crate::failure::Result;
use crate::kubernetes::{Kubernetes, READY, TRUE, condition};

/// The label of Nodes that a drain of ours closed, and no person.
pub(super) const DRAINED: &str = "slicer-k3s.dev/drained";

/// One of them. A Node's own name has a random ending; its VM's name is a label, empty where it lacks that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) vm: String,
    pub(super) ready: bool,
    /// Whether it carries [`DRAINED`].
    pub(super) drained: bool,
}

/// The label that every Node of a group has.
pub(super) fn selector(group: &str) -> String {
    format!("{GROUP_LABEL}={group}")
}

/// A group's Nodes.
pub(super) async fn list(kubernetes: &Kubernetes, group: &str) -> Result<Vec<Node>> {
    let selector = selector(group);
    let items = kubernetes.list(&["nodes", "-l", &selector]).await?;
    Ok(items
        .iter()
        .map(|node| {
            let metadata = &node["metadata"];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            Node {
                name: text(&metadata["name"]),
                vm: text(&metadata["labels"][VM_LABEL]),
                ready: condition(node, READY) == Some(TRUE),
                drained: metadata["labels"][DRAINED].is_string(),
            }
        })
        .collect())
}
