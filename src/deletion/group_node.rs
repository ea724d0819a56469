//! A Node of a group. One whose VM is gone (a ghost) goes once it is older than a VM takes to join.

use std::collections::BTreeSet;

use crate::names::autoscaler::JOIN;
use crate::vm::Vm;

/// A Node of a group, as a complete list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNode {
    /// Its name, which has a random ending.
    pub name: String,
    /// Its VM's name, by its label; empty where it lacks that.
    pub vm: String,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether a drain of ours closed it.
    pub drained: bool,
    /// When it was made, in seconds since 1970 by the servers' clock; `None` where it does not say.
    pub made: Option<i64>,
}

impl GroupNode {
    /// Whether it has no VM: `vms` are all of its group. A new VM may have got the name of one that went; then its Node is the one
    /// that is Ready.
    pub fn is_ghost(&self, nodes: &[Self], vms: &[Vm]) -> bool {
        if self.vm.is_empty() {
            return false;
        }
        let replaced = !self.ready && nodes.iter().any(|other| other.vm == self.vm && other.ready);
        replaced || !vms.iter().any(|vm| vm.hostname == self.vm)
    }

    /// Whether it is older at `now` than a VM takes to join.
    pub fn is_old(&self, now: i64) -> bool {
        self.made
            .is_some_and(|made| now.saturating_sub(made) >= JOIN)
    }
}

/// The Nodes without a VM that are old enough at `now` to go, by the servers' clock.
pub fn stale_nodes(nodes: &[GroupNode], vms: &[Vm], now: i64) -> BTreeSet<String> {
    let stale_nodes = nodes.iter().filter(|node| node.is_ghost(nodes, vms));
    let old = stale_nodes.filter(|node| node.is_old(now));
    old.map(|node| node.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, vm: &str, ready: bool, made: Option<i64>) -> GroupNode {
        GroupNode {
            name: name.into(),
            vm: vm.into(),
            ready,
            drained: false,
            made,
        }
    }

    #[test]
    fn a_node_goes_for_want_of_its_vm_and_only_when_it_is_old() {
        let vm: Vm = serde_json::from_str(r#"{"hostname":"a-1"}"#).unwrap();
        let nodes = [
            node("works", "a-1", true, Some(0)),
            node("before", "a-1", false, Some(0)),
            node("ghost", "a-2", true, Some(0)),
            node("young", "a-3", true, Some(1)),
            node("ageless", "a-4", true, None),
            node("unlabelled", "", false, Some(0)),
        ];
        let gone = stale_nodes(&nodes, &[vm], JOIN);
        assert_eq!(gone, ["before", "ghost"].map(str::to_owned).into());
    }
}
