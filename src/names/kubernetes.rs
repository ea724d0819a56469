//! Words of Kubernetes' own API that are matched or written in more than one place. This file uses nothing else of the
//! program. The names of an object's fields (`metadata`, `status`, …) stay where they are read.

/// The key of a server's label and taint, with what follows it.
macro_rules! control_plane {
    ($value:literal) => {
        concat!("node-role.kubernetes.io/control-plane", $value)
    };
}
pub(crate) use control_plane;

/// The label of Nodes that run the control plane, and the key of the taint that keeps ordinary pods off them.
///
/// Source: kubernetes.io/docs/reference/labels-annotations-taints; k3s sets the label to `true` (k3s@af977adf
/// pkg/util/labels.go).
pub const CONTROL_PLANE: &str = control_plane!("");

/// Selects the Nodes that run the control plane.
pub const SERVERS: &str = control_plane!("=true");

/// The namespace of what belongs to the cluster itself; Kubernetes makes it with the cluster.
///
/// Source: kubernetes/apimachinery pkg/apis/meta/v1/meta.go (`NamespaceSystem`).
pub const SYSTEM_NAMESPACE: &str = "kube-system";

/// The namespace of what names none; events about Nodes are in it.
///
/// Source: kubernetes/apimachinery pkg/apis/meta/v1/meta.go (`NamespaceDefault`).
pub const DEFAULT_NAMESPACE: &str = "default";

/// The condition of a Node or a pod that is ready.
///
/// Source: kubernetes/api core/v1/types.go (`NodeReady`, `PodReady`).
pub const READY: &str = "Ready";

/// The status of a condition that holds; the others are `False` and `Unknown`.
///
/// Source: kubernetes/api core/v1/types.go (`ConditionTrue`).
pub const TRUE: &str = "True";

/// The phases of a pod that has ended and will not run again.
///
/// Source: kubernetes/api core/v1/types.go (`PodPhase`).
pub const OVER: [&str; 2] = ["Succeeded", "Failed"];

/// The kind of what makes a pod for each Node: its pods stay there when a Node is drained.
///
/// Source: kubernetes/api apps/v1/types.go.
pub const DAEMON_SET: &str = "DaemonSet";

/// The annotation of a pod that the kubelet runs from a file, and that the API shows only.
///
/// Source: kubernetes/kubernetes `pkg/kubelet/types/pod_update.go` (`ConfigMirrorAnnotationKey`).
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// The label of a job's pods, with the job's name.
///
/// Source: kubernetes/kubernetes pkg/apis/batch/types.go (`LegacyJobNameLabel`); newer versions set it beside
/// `batch.kubernetes.io/job-name`.
pub const JOB_NAME: &str = "job-name";

/// The API of the Helm controller that is part of k3s.
///
/// Source: k3s@af977adf manifests/traefik.yaml; k3s-io/helm-controller pkg/apis/helm.cattle.io/v1.
pub const HELM_API: &str = "helm.cattle.io/v1";

/// The API of the objects that stand for the manifests which k3s applies.
///
/// Source: k3s@af977adf pkg/deploy/controller.go; k3s-io/api k3s.cattle.io/v1.
pub const ADDON_API: &str = "k3s.cattle.io/v1";

/// The label of what the Helm controller makes for a chart, with the chart's name: its jobs' pods have it.
///
/// Source: k3s-io/helm-controller pkg/controllers/chart/chart.go (`Label`).
pub const HELM_CHART: &str = "helmcharts.helm.cattle.io/chart";
