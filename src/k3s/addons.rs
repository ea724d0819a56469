//! The components that k3s packages and an agent would be kept for: the autoscaler removes no Node with a pod of kube-system that
//! no `PodDisruptionBudget` covers, nor one whose pod has an emptyDir (kubernetes/autoscaler@093de0a5
//! cluster-autoscaler/simulator/drainability/rules), unless it is a `DaemonSet`'s.

use serde_json::Value;

use crate::kubernetes::CONTROL_PLANE;

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

    /// Whether k3s has got past its manifest without a Deployment of it: a file `MANIFEST.skip` is there, or someone deleted
    /// it. k3s applies manifests in the order of their paths, and notes the checksum of what it applied.
    pub fn passed_by(&self, addons: &[Value]) -> bool {
        addons.iter().any(|addon| {
            let source = addon["spec"]["source"].as_str().unwrap_or_default();
            let applied = addon["spec"]["checksum"]
                .as_str()
                .is_some_and(|sum| !sum.is_empty());
            let file = source
                .split_once("/server/manifests/")
                .map_or(source, |(_, file)| file);
            applied && file >= self.manifest
        })
    }
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

    /// On a new cluster what is not there is still to come; a file that k3s is told to skip never comes.
    #[test]
    fn a_manifest_is_passed_by_once_a_later_one_is_applied() {
        let addon = |file: &str, sum: &str| json!({"spec": {"source": format!("/var/lib/rancher/k3s/server/manifests/{file}"), "checksum": sum}});
        let metrics = &PACKAGED[2];
        assert!(!metrics.passed_by(&[]));
        assert!(!metrics.passed_by(&[addon("ccm.yaml", "f"), addon("local-storage.yaml", "f")]));
        assert!(!metrics.passed_by(&[addon("metrics-server/metrics-server-deployment.yaml", "")]));
        assert!(metrics.passed_by(&[addon("metrics-server/metrics-server-deployment.yaml", "f")]));
        assert!(metrics.passed_by(&[addon("rolebindings.yaml", "f")]));
    }
}
