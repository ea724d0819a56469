//! Objects of the cluster's API: those that this program made, by their own names or labels, and the Nodes of what goes.

use std::collections::BTreeSet;

use super::GroupNode;
use super::files::is_name;
use crate::names::autoscaler::GROUP_LABEL;

/// Objects that a rule lets go, in kubectl's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletableObject(Vec<String>);

impl DeletableObject {
    fn of(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// What `kubectl delete` is told.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(super) fn node(name: &str) -> Self {
        Self::of(&["node", name])
    }

    /// Of `confirmed` names (see [`super::Sightings`]) the Nodes that the group has.
    pub fn confirmed_nodes(confirmed: &BTreeSet<String>, listed: &[GroupNode]) -> Vec<Self> {
        let listed = listed.iter().filter(|node| confirmed.contains(&node.name));
        listed.map(|node| Self::node(&node.name)).collect()
    }

    /// All Nodes of a group that a person named on the command line, or whose host or cluster that person named. `None` where its
    /// name could select others.
    pub fn nodes_of_named(group: &str) -> Option<Self> {
        let selector = format!("{GROUP_LABEL}={group}");
        is_name(group).then(|| Self::of(&["nodes", "-l", &selector]))
    }

    /// An object of ours by its kind, namespace and name.
    pub fn ours(kind: &str, namespace: &str, name: &str) -> Self {
        Self::of(&[kind, "-n", namespace, name])
    }

    /// The pods that a proof of this group made, by the label that marks them; `now`: without their grace period. `None` where the
    /// group's name could select others.
    pub fn pods_of_proof(namespace: &str, label: &str, group: &str, now: bool) -> Option<Self> {
        let selector = format!("{label}={group}");
        let mut words = vec!["pods", "-n", namespace, "-l", &selector];
        if now {
            words.extend(["--grace-period=0", "--force"]);
        }
        is_name(group).then(|| Self::of(&words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `-l slicer/hostgroup=` selects the Nodes of every group.
    #[test]
    fn a_selector_that_could_select_others_deletes_nothing() {
        for name in ["", "a,b", "a b", "..", "a=b", "!a"] {
            assert_eq!(DeletableObject::nodes_of_named(name), None, "{name}");
            let pods = DeletableObject::pods_of_proof("default", "l", name, true);
            assert_eq!(pods, None, "{name}");
        }
        let nodes = DeletableObject::nodes_of_named("a-1").unwrap();
        let words: Vec<&str> = nodes.words().collect();
        assert_eq!(words, ["nodes", "-l", "slicer/hostgroup=a-1"]);
    }
}
