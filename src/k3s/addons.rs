//! The components that k3s packages and an agent would be kept for: the autoscaler removes no Node with a pod of kube-system that
//! no `PodDisruptionBudget` covers, nor one whose pod has an emptyDir (kubernetes/autoscaler@093de0a5
//! cluster-autoscaler/simulator/drainability/rules), unless it is a `DaemonSet`'s.

use serde_json::Value;

use crate::names::k3s::SERVER_DIRECTORY;
use crate::names::kubernetes::CONTROL_PLANE;

/// A Deployment that k3s makes of one of its manifests.
pub struct Packaged {
    /// Its name in kube-system.
    pub deployment: &'static str,
    /// The word in k3s's `disable` that leaves it out.
    pub component: &'static str,
    /// The manifest, below the manifests directory.
    manifest: &'static str,
    /// The Addon object that stands for the manifest.
    addon: &'static str,
}

/// In k3s@af977adf manifests/. Those of its Deployments that are not here come with a chart: Traefik's.
pub const PACKAGED: [Packaged; 3] = [
    Packaged {
        deployment: "coredns",
        component: "coredns",
        manifest: "coredns.yaml",
        addon: "coredns",
    },
    Packaged {
        deployment: "local-path-provisioner",
        component: "local-storage",
        manifest: "local-storage.yaml",
        addon: "local-storage",
    },
    Packaged {
        deployment: "metrics-server",
        component: "metrics-server",
        manifest: "metrics-server/metrics-server-deployment.yaml",
        addon: "metrics-server-deployment",
    },
];

/// Name of Traefik's HelmChart, and the word in k3s's `disable` that leaves it out (k3s@af977adf manifests/traefik.yaml).
pub const TRAEFIK: &str = "traefik";

/// The `HelmChart`s that make Traefik, in kube-system: their jobs do not tolerate servers' taints (k3s@af977adf
/// manifests/traefik.yaml; k3s-io/helm-controller pkg/controllers/chart/chart.go).
pub const TRAEFIK_CHARTS: [&str; 2] = [TRAEFIK, "traefik-crd"];

/// Keys of a nodeSelector that say nothing against a server: k3s's own, and ours.
const KNOWN_KEYS: [&str; 2] = ["kubernetes.io/os", CONTROL_PLANE];

/// What k3s notes on each object that it makes of a manifest: the kind and the name of the Addon
/// (rancher/wrangler@v3.4.0 `pkg/apply/desiredset_apply.go`, k3s@af977adf pkg/deploy/controller.go).
const OWNER_KIND: &str = "objectset.rio.cattle.io/owner-gvk";
const OWNER_NAME: &str = "objectset.rio.cattle.io/owner-name";
const ADDON_KIND: &str = "k3s.cattle.io/v1, Kind=Addon";

impl Packaged {
    /// Whether the Deployment is k3s's own and not another one of that name.
    pub fn made(&self, deployment: &Value) -> bool {
        let metadata = &deployment["metadata"];
        let notes = &metadata["annotations"];
        metadata["name"] == self.deployment
            && notes[OWNER_KIND] == ADDON_KIND
            && notes[OWNER_NAME] == self.addon
    }

    /// Whether k3s has applied its manifest: then a Deployment that is missing was deleted by someone. k3s makes the Addon, applies
    /// the manifest, and notes its checksum; where the component is disabled, it deletes the Addon.
    pub fn is_applied(&self, addons: &[Value]) -> bool {
        let mut own = addons
            .iter()
            .filter(|addon| addon["metadata"]["name"] == self.addon);
        own.any(|addon| {
            let sum = addon["spec"]["checksum"].as_str();
            sum.is_some_and(|sum| !sum.is_empty())
        })
    }

    /// The file that has k3s leave the manifest out.
    pub fn skip_path(&self) -> String {
        format!("{SERVER_DIRECTORY}/manifests/{}.skip", self.manifest)
    }
}

/// Why no server takes the pods of this Deployment; `None` where one does.
pub fn unfit(deployment: &Value, nodes: &[Value]) -> Option<String> {
    let pod = &deployment["spec"]["template"]["spec"];
    let selector = pod["nodeSelector"].as_object().into_iter().flatten();
    let mut own = selector.filter(|(key, _)| !KNOWN_KEYS.contains(&key.as_str()));
    if let Some((key, _)) = own.next() {
        return Some(format!("it has a nodeSelector of its own ({key})"));
    }
    if pod["affinity"]["nodeAffinity"].is_object() {
        return Some("it has a node affinity of its own".to_owned());
    }
    let tolerations: Vec<&Value> = pod["tolerations"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    let mut servers = nodes
        .iter()
        .filter(|node| node["metadata"]["labels"][CONTROL_PLANE] == "true");
    let takes = |node: &Value| {
        let mut taints = node["spec"]["taints"].as_array().into_iter().flatten();
        taints.all(|taint| passes(taint) || tolerations.iter().any(|one| tolerates(one, taint)))
    };
    (!servers.any(takes)).then(|| "no server takes its pods, for their taints".to_owned())
}

/// What Kubernetes itself sets and takes away: a Node that is not ready yet, closed, short of memory, and so on.
fn passes(taint: &Value) -> bool {
    let key = taint["key"].as_str().unwrap_or_default();
    let own = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];
    taint["effect"] == "PreferNoSchedule" || own.iter().any(|prefix| key.starts_with(prefix))
}

/// Source: k8s.io/api core/v1 toleration.go (`ToleratesTaint`).
fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let same = |part: &str| toleration[part].is_null() || toleration[part] == taint[part];
    same("effect")
        && same("key")
        && (toleration["operator"] == "Exists" || toleration["value"] == taint["value"])
}

/// Whether pods of this Deployment run on servers only.
pub fn stays_on_servers(deployment: &Value) -> bool {
    let selector = &deployment["spec"]["template"]["spec"]["nodeSelector"];
    selector[CONTROL_PLANE] == "true"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A Deployment that a person put in the place of a disabled one is theirs.
    #[test]
    fn only_k3ss_own_deployments_are_packaged_ones() {
        let of = |kind: &str, name: &str| json!({"metadata": {"name": "coredns", "annotations": {OWNER_KIND: kind, OWNER_NAME: name}}});
        let coredns = &PACKAGED[0];
        assert!(coredns.made(&of("k3s.cattle.io/v1, Kind=Addon", "coredns")));
        assert!(!coredns.made(&of("k3s.cattle.io/v1, Kind=Addon", "my-coredns")));
        assert!(!coredns.made(&of("helm.cattle.io/v1, Kind=HelmChart", "coredns")));
        assert!(!coredns.made(&json!({"metadata": {"name": "coredns"}})));
    }

    /// On a new cluster, and where a component was disabled until now, what is not there is still to come.
    #[test]
    fn a_manifest_is_applied_once_its_own_addon_has_a_checksum() {
        let addon =
            |name: &str, sum: &str| json!({"metadata": {"name": name}, "spec": {"checksum": sum}});
        let metrics = &PACKAGED[2];
        assert!(!metrics.is_applied(&[]));
        assert!(
            !metrics.is_applied(&[addon("rolebindings", "f"), addon("metrics-apiservice", "f")])
        );
        assert!(!metrics.is_applied(&[addon("metrics-server-deployment", "")]));
        assert!(metrics.is_applied(&[addon("metrics-server-deployment", "f")]));
    }

    /// The only pod of `CoreDNS` would wait for ever, and with it every name.
    #[test]
    fn a_deployment_that_no_server_takes_is_left_alone() {
        let deployment = |more: &Value| {
            let mut pod = json!({"nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [
                {"key": "CriticalAddonsOnly", "operator": "Exists"},
                {"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"}]});
            for (key, value) in more.as_object().unwrap() {
                pod[key] = value.clone();
            }
            json!({"spec": {"template": {"spec": pod}}})
        };
        let server = |taints: &Value| json!({"metadata": {"labels": {CONTROL_PLANE: "true"}}, "spec": {"taints": taints}});
        let agent = json!({"metadata": {}, "spec": {}});
        let taint =
            |key: &str, effect: &str| json!([{"key": key, "value": "true", "effect": effect}]);
        for (more, node, fits) in [
            (json!({}), server(&Value::Null), true),
            (json!({}), agent, false),
            (json!({}), server(&taint(CONTROL_PLANE, "NoSchedule")), true),
            (json!({}), server(&taint(CONTROL_PLANE, "NoExecute")), false),
            (json!({}), server(&taint("dedicated", "NoSchedule")), false),
            (
                json!({}),
                server(&taint("dedicated", "PreferNoSchedule")),
                true,
            ),
            (
                json!({}),
                server(&taint("node.kubernetes.io/not-ready", "NoSchedule")),
                true,
            ),
            (
                json!({"nodeSelector": {"pool": "infra"}}),
                server(&Value::Null),
                false,
            ),
            (
                json!({"affinity": {"nodeAffinity": {}}}),
                server(&Value::Null),
                false,
            ),
            (
                json!({"tolerations": [{"operator": "Exists"}]}),
                server(&taint("dedicated", "NoExecute")),
                true,
            ),
        ] {
            let why = unfit(&deployment(&more), std::slice::from_ref(&node));
            assert_eq!(why.is_none(), fits, "{more} {node}: {why:?}");
        }
    }
}
