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

/// The Nodes that a volume requires. Terms are alternatives; each may name several.
fn nodes(volume: &Value) -> Vec<&str> {
    let terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array();
    let mut found = Vec::new();
    for term in terms.into_iter().flatten() {
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
