//! The Nodes of a group of agents, as Kubernetes lists them.

use crate::deletion::GroupNode;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::{Kubernetes, condition};
use crate::names::autoscaler::{GROUP_LABEL, VM_LABEL};
use crate::names::kubernetes::{READY, TRUE};
use crate::names::ours::DRAINED;
use crate::remote::{Machine, Probe};
use crate::time;

/// The label that every Node of a group has.
pub(crate) fn selector(group: &str) -> String {
    format!("{GROUP_LABEL}={group}")
}

/// A group's Nodes, all of them: what is not listed counts as gone.
pub(crate) async fn list(kubernetes: &Kubernetes, group: &str) -> Result<Vec<GroupNode>> {
    let selector = selector(group);
    let items = kubernetes.list(&["nodes", "-l", &selector]).await?;
    Ok(items
        .iter()
        .map(|node| {
            let metadata = &node["metadata"];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            GroupNode {
                name: text(&metadata["name"]),
                vm: text(&metadata["labels"][VM_LABEL]),
                ready: condition(node, READY) == Some(TRUE),
                drained: metadata["labels"][DRAINED].is_string(),
                made: metadata["creationTimestamp"].as_str().and_then(time::unix),
            }
        })
        .collect())
}

/// Seconds since 1970 by a machine's own clock.
pub async fn clock(machine: &Machine) -> Result<i64> {
    let output = machine.probe(&Probe::SecondsSince("@0".to_owned())).await?;
    output.stdout.trim().parse().map_err(|_| {
        let what = format!("{} does not say what time it is", machine.name());
        Failure::new(Code::Command, what).because(output.last_words())
    })
}
