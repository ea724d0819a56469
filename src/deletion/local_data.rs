//! Data that goes with a VM: volumes on its own disk that a claim uses. A command that ends such a VM names them and does nothing
//! unless the person said that they may go.

use std::collections::BTreeSet;

use serde_json::Value;

/// A claim whose data lies on the disk of a VM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// `NAMESPACE/NAME`, as the API says it.
    pub name: String,
    /// The Node on which it lies; empty where the volume does not say.
    pub node: String,
}

/// The label by which a volume says on which Node it lies.
///
/// Source: kubernetes/api@master `core/v1/well_known_labels.go` (`LabelHostname`); rancher/local-path-provisioner writes it as
/// `nodeAffinity` of each volume (provisioner.go, `provisionFor`).
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Every claim whose volume lies on a VM's own disk, of any Node: what goes with the whole cluster.
pub fn all_local(volumes: &[Value]) -> Vec<String> {
    let local = volumes.iter().filter(|volume| is_local(volume));
    local.map(claim).collect()
}

/// The claims that are bound to volumes on these Nodes' own disks, of all `volumes`. `is_lost` says so of a Node, by the name or
/// host name that a volume gives.
pub fn lost_with(volumes: &[Value], is_lost: impl Fn(&str) -> bool) -> BTreeSet<Claim> {
    let bound = volumes
        .iter()
        .filter(|volume| is_local(volume) && is_bound(volume));
    let lost = bound.filter_map(|volume| {
        let node = nodes(volume).into_iter().find(|node| is_lost(node))?;
        Some(Claim {
            name: claim(volume),
            node: node.to_owned(),
        })
    });
    lost.collect()
}

/// The claims that are bound to volumes on a Node's own disk which say where they lie by other labels than the host name's, where
/// one of `nodes` may be meant: nobody can say on which Node's disk they are, and [`Claim::node`] is empty. A VM that has no Node has no labels.
pub fn perhaps_lost_with(volumes: &[Value], nodes: &[Value]) -> BTreeSet<Claim> {
    let bound = volumes
        .iter()
        .filter(|volume| is_local(volume) && is_bound(volume) && self::nodes(volume).is_empty());
    let meant = bound.filter(|volume| {
        let mut terms = terms(volume);
        terms.any(|term| nodes.iter().any(|node| may_mean(term, node)))
    });
    let claims = meant.map(|volume| Claim {
        name: claim(volume),
        node: String::new(),
    });
    claims.collect()
}

/// Whether a term may mean this Node: nothing in it speaks of a label that the Node has not, or has with another value. Rules of
/// other kinds are taken to hold.
///
/// Source: kubernetes/api@master `core/v1/types.go` (`NodeSelectorTerm`: its rules hold all together; `NodeSelectorOperator`).
fn may_mean(term: &Value, node: &Value) -> bool {
    let mut rules = term["matchExpressions"].as_array().into_iter().flatten();
    rules.all(|rule| {
        let label = &node["metadata"]["labels"][rule["key"].as_str().unwrap_or_default()];
        match rule["operator"].as_str() {
            Some("In") => rule["values"]
                .as_array()
                .is_none_or(|values| values.contains(label)),
            Some("Exists") => !label.is_null(),
            _ => true,
        }
    })
}

fn is_local(volume: &Value) -> bool {
    let spec = &volume["spec"];
    !spec["local"].is_null() || !spec["hostPath"].is_null()
}

/// Whether a claim uses it; one that does not say its phase is taken for bound.
fn is_bound(volume: &Value) -> bool {
    let phase = volume["status"]["phase"].as_str();
    !volume["spec"]["claimRef"].is_null() && phase.is_none_or(|phase| phase == "Bound")
}

fn claim(volume: &Value) -> String {
    let part = |key: &str| volume["spec"]["claimRef"][key].as_str().unwrap_or("-");
    format!("{}/{}", part("namespace"), part("name"))
}

/// By what a volume says on which Nodes it may be used: alternatives.
fn terms(volume: &Value) -> impl Iterator<Item = &Value> {
    let terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array();
    terms.into_iter().flatten()
}

/// The Nodes that a volume requires. Terms are alternatives; each may name several.
fn nodes(volume: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    for term in terms(volume) {
        for (list, key) in [
            ("matchExpressions", HOSTNAME),
            ("matchFields", "metadata.name"),
        ] {
            let rules = term[list].as_array().into_iter().flatten();
            let named = rules.filter(|rule| rule["key"] == key && rule["operator"] == "In");
            let values = named.flat_map(|rule| rule["values"].as_array().into_iter().flatten());
            found.extend(values.filter_map(Value::as_str));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(source: &str, node: &str, phase: &str) -> Value {
        json!({
            "spec": {
                source: {"path": "/data"},
                "claimRef": {"namespace": "default", "name": "precious"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}},
            },
            "status": {"phase": phase},
        })
    }

    #[test]
    fn claims_on_a_nodes_own_disk_are_lost_with_it_and_no_others() {
        let by_name = json!({"spec": {"local": {}, "claimRef": {"namespace": "a", "name": "b"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["x", "a-1"]}]}]}}}});
        for (volume, lost) in [
            (volume("hostPath", "a-1", "Bound"), true),
            (volume("local", "a-1", "Bound"), true),
            (by_name, true),
            (volume("nfs", "a-1", "Bound"), false),
            (volume("local", "a-2", "Bound"), false),
            (volume("local", "a-1", "Released"), false),
            (
                json!({"spec": {"hostPath": {}, "claimRef": {"name": "b"}}}),
                false,
            ),
            (json!({"spec": {"local": {}}}), false),
        ] {
            let found = lost_with(std::slice::from_ref(&volume), |node| node == "a-1");
            assert_eq!(!found.is_empty(), lost, "{volume}");
        }
        let found = lost_with(&[volume("local", "a-1", "Bound")], |_| true);
        let claim = Claim {
            name: "default/precious".into(),
            node: "a-1".into(),
        };
        assert_eq!(found, BTreeSet::from([claim]));
    }

    /// A volume that goes by a zone's label was taken for one on no Node, and went unnamed.
    #[test]
    fn a_volume_that_goes_by_other_labels_is_perhaps_on_a_node_that_has_them() {
        let by = |source: &str, rule: Value| {
            json!({"spec": {source: {}, "claimRef": {"namespace": "a", "name": "b"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}}})
        };
        let zone = |operator: &str, values: &[&str]| json!({"key": "zone", "operator": operator, "values": values});
        let node = json!({"metadata": {"name": "a-1", "labels": {"zone": "attic"}}});
        for (volume, perhaps) in [
            (by("local", zone("In", &["cellar", "attic"])), true),
            (by("hostPath", zone("In", &["attic"])), true),
            (by("local", zone("In", &["cellar"])), false),
            (by("local", zone("Exists", &[])), true),
            (by("local", zone("NotIn", &["cellar"])), true),
            (
                by("local", json!({"key": "disk", "operator": "Exists"})),
                false,
            ),
            (by("nfs", zone("In", &["attic"])), false),
            // It names its Node, whatever else it goes by.
            (volume("local", "a-1", "Bound"), false),
            (
                json!({"spec": {"hostPath": {}, "claimRef": {"name": "b"}}}),
                false,
            ),
        ] {
            let found =
                perhaps_lost_with(std::slice::from_ref(&volume), std::slice::from_ref(&node));
            assert_eq!(!found.is_empty(), perhaps, "{volume}");
            assert!(found.iter().all(|claim| claim.node.is_empty()));
            assert_eq!(perhaps_lost_with(&[volume], &[]), BTreeSet::new());
        }
    }

    /// With the cluster goes what lies on any of its VMs, whether or not the volume says which.
    #[test]
    fn all_local_claims_go_with_the_cluster() {
        let anywhere =
            json!({"spec": {"hostPath": {}, "claimRef": {"namespace": "a", "name": "b"}}});
        let nfs = json!({"spec": {"nfs": {"server": "nas"}}});
        let volumes = [anywhere, nfs, volume("local", "a-1", "Bound")];
        assert_eq!(all_local(&volumes), ["a/b", "default/precious"]);
    }
}
