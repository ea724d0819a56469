//! A VM of a group. One without a Node goes where the group is wholly ours, the autoscaler made it, and it had the time to join;
//! one that others replace where it is an agent; all of a group where a person named it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::agents;
use crate::plan::Daemon;
use crate::vm::Vm;

/// A VM that a rule lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletableVm {
    group: String,
    name: String,
}

impl DeletableVm {
    /// Of `confirmed` names (see [`super::Sightings`]) those that the daemon lists in the group.
    pub fn confirmed(group: &str, confirmed: &BTreeSet<String>, listed: &[Vm]) -> Vec<Self> {
        let listed = listed.iter().filter(|vm| confirmed.contains(&vm.hostname));
        listed.map(|vm| Self::of(group, &vm.hostname)).collect()
    }

    /// VMs of a group that a person named on the command line, or whose host or cluster that person named.
    pub fn named(group: &str, vms: &[String]) -> Vec<Self> {
        vms.iter().map(|vm| Self::of(group, vm)).collect()
    }

    /// A VM that others are to replace, where it is an agent. The autoscaler numbers what it makes; in a group that someone else set
    /// up there may be VMs of theirs, and there only what has a Node of the group is one. `nodes` are all Nodes.
    pub fn agent(daemon: &Daemon, vm: &Vm, nodes: &[Value]) -> Option<Self> {
        let (group, name) = (&daemon.group, &vm.hostname);
        let is_agent = match daemon.adopted {
            Some(_) => nodes.iter().any(|node| agents::is_node_of(node, group, vm)),
            None => agents::is_numbered(name, group),
        };
        is_agent.then(|| Self::of(group, name))
    }

    fn of(group: &str, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Its group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Whether a VM without a Node may go that had `time` seconds to join, of which `enough` are enough. The autoscaler numbers what it
/// makes; a daemon that someone else set up may have VMs of theirs.
pub fn may_go_without_node(daemon: &Daemon, vm: &str, time: i64, enough: i64) -> bool {
    daemon.adopted.is_none() && time >= enough && agents::is_numbered(vm, &daemon.group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::autoscaler::JOIN;
    use crate::testing::{adopted, plan};

    #[test]
    fn only_an_old_numbered_vm_of_a_group_of_ours_goes() {
        let daemon = plan().daemons[1].clone();
        let theirs = Daemon {
            adopted: Some(adopted(&daemon)),
            ..daemon.clone()
        };
        for (daemon, vm, time, goes) in [
            (&daemon, "k3s-agents-1-7", JOIN, true),
            (&daemon, "k3s-agents-1-7", JOIN - 1, false),
            (&daemon, "k3s-agents-1-", JOIN, false),
            (&daemon, "k3s-agents-1-x7", JOIN, false),
            (&daemon, "k3s-agents-17", JOIN, false),
            (&daemon, "mine", JOIN, false),
            (&theirs, "k3s-agents-1-7", JOIN, false),
        ] {
            assert_eq!(may_go_without_node(daemon, vm, time, JOIN), goes, "{vm}");
        }
    }

    /// A person's own VM in a group that was handed over went with its disk, as did what someone made beside the autoscaler's.
    #[test]
    fn only_an_agent_is_replaced() {
        let daemon = plan().daemons[1].clone();
        let theirs = Daemon {
            adopted: Some(adopted(&daemon)),
            ..daemon.clone()
        };
        let node = |name: &str| serde_json::json!({"metadata": {"name": name}});
        let nodes = [node("k3s-agents-1-7-00ff00ff"), node("joined")];
        for (daemon, name, goes) in [
            (&daemon, "k3s-agents-1-7", true),
            (&daemon, "k3s-agents-1-8", true),
            (&daemon, "joined", false),
            (&daemon, "mine", false),
            (&theirs, "k3s-agents-1-7", true),
            (&theirs, "k3s-agents-1-8", false),
            (&theirs, "joined", true),
            (&theirs, "mine", false),
        ] {
            let vm = serde_json::from_value(serde_json::json!({"hostname": name})).unwrap();
            let agent = DeletableVm::agent(daemon, &vm, &nodes);
            assert_eq!(agent.is_some(), goes, "{name}");
        }
    }

    #[test]
    fn a_confirmed_vm_that_is_not_listed_any_more_is_left_alone() {
        let vm: Vm = serde_json::from_str(r#"{"hostname":"a-1"}"#).unwrap();
        let confirmed = BTreeSet::from(["a-1".to_owned(), "a-2".to_owned()]);
        let vms = DeletableVm::confirmed("a", &confirmed, &[vm]);
        assert_eq!(vms, [DeletableVm::of("a", "a-1")]);
    }
}
