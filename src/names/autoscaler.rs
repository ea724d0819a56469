//! What the Cluster Autoscaler, its Slicer provider, its chart and k3s's Helm controller call things, and the times that the
//! autoscaler goes by.

use super::kubernetes::SYSTEM_NAMESPACE;

/// Name of the HelmChart, the release, the Deployment and its service account.
pub const AUTOSCALER: &str = "slicer-cluster-autoscaler";

/// Where all of it lives.
pub const NAMESPACE: &str = SYSTEM_NAMESPACE;

/// The secret with the cloud-config.
pub const CLOUD_CONFIG_SECRET: &str = "cluster-autoscaler-cloud-config";

/// The key of that secret, and the file's name below [`CLOUD_CONFIG_DIRECTORY`].
pub const CLOUD_CONFIG_KEY: &str = "cloud-config";

/// Where the autoscaler's container has the file, as in the manual.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/examples/autoscaling-k3s.md.
pub const CLOUD_CONFIG_DIRECTORY: &str = "/etc/slicer/";

/// The chart's name in its repository.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/charts/cluster-autoscaler/Chart.yaml.
pub const CHART: &str = "cluster-autoscaler";

/// The chart's value with the autoscaler's flags.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/charts/cluster-autoscaler/values.yaml, as for all other values.
pub const EXTRA_ARGS: &str = "extraArgs";

/// The chart's value with the pod's annotations.
///
/// Source: as for [`EXTRA_ARGS`].
pub const POD_ANNOTATIONS: &str = "podAnnotations";

/// Where a HelmChart has the chart's values, as YAML.
///
/// Source: k3s-io/helm-controller v0.17.1 pkg/apis/helm.cattle.io/v1/types.go (`HelmChartSpec`), as for its other fields.
pub const VALUES_CONTENT: &str = "valuesContent";

/// What the name of a HelmChart's job begins with; the chart's name follows.
///
/// Source: k3s-io/helm-controller v0.17.1 pkg/controllers/chart/chart.go, `job`.
pub const INSTALL_JOB: &str = "helm-install-";

/// The label of an agent's Node with its group's name. The autoscaler goes by it: a Node without it is none of Slicer's.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/cloudprovider/slicer/slicer_node_group.go, `IncreaseSize` (the user
/// data of a new VM), and `slicer_cloud_provider.go`, `NodeGroupForNode`.
pub const GROUP_LABEL: &str = "slicer/hostgroup";

/// The label of an agent's Node with its VM's name: the Node's own name has a random ending.
///
/// Source: as for [`GROUP_LABEL`].
pub const VM_LABEL: &str = "slicer/hostname";

/// A VM joins within this time, in seconds: boot and k3s's download take one or two minutes. A VM that is younger and has no
/// Node, or whose Node is not Ready yet, is joining.
pub const JOIN: i64 = 300;

/// What has no Node after this time, in seconds, will not get one: the autoscaler itself gives up then
/// (`--max-node-provision-time`, kubernetes/autoscaler@093de0a5 cluster-autoscaler/config/flags/flags.go). On a slow line a VM
/// may download for longer than [`JOIN`].
pub const ABANDONED: i64 = 900;
