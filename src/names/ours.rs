//! What slicer-k3s calls what is its own on machines and in the cluster.

/// Where every daemon has its directory on a host: `<root>/<cluster>/<group>`.
pub const ROOT: &str = "/var/lib/slicer-k3s";

/// Where marks, notes, and tables of routes and addresses lie on a host; `survey.sh` has it, too.
pub const SETTINGS: &str = "/etc/slicer-k3s";

/// The first line of each file for k3s that slicer-k3s writes: what lies there without it is somebody else's.
pub const MARK: &str = "# Written by slicer-k3s.\n";

/// The pod annotation with the cloud-config's hash: the provider reads its file once, so a new hash must make a new pod.
pub const CONFIG_ANNOTATION: &str = "slicer-k3s.dev/cloud-config";

/// The Deployment's annotation with the hash of what the chart was installed with. It tells whether Helm is done with a
/// change, and rolls nothing: only what the pod itself is told makes a new pod.
pub const VALUES_ANNOTATION: &str = "slicer-k3s.dev/values";

/// The label of Nodes that a drain of ours closed, and no person.
pub const DRAINED: &str = "slicer-k3s.dev/drained";

/// Marks everything that a proof makes; its value is the group.
pub const PROOF_LABEL: &str = "slicer-k3s.dev/proof";

/// The ConfigMap with the record of each group's proof; each group writes only its own keys.
pub const PROOF_RECORD: &str = "slicer-k3s-proven";

/// Marks a Deployment whose pods this program keeps on servers.
pub const KEPT_ON_SERVERS: &str = "slicer-k3s.dev/on-servers";
