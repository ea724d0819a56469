//! What of k3s's own settings slicer-k3s decides, and where the user sets it instead.

/// Keys of k3s's config.yaml that `k3s.server-args` cannot hold, with the reason.
pub const SERVER_ARGS: [(&str, &str); 18] = [
    ("token", "made by slicer-k3s"),
    ("token-file", "made by slicer-k3s"),
    ("agent-token", "made by slicer-k3s"),
    ("agent-token-file", "made by slicer-k3s"),
    ("server", "decided by the plan"),
    ("cluster-init", "decided by the plan"),
    ("node-name", "decided by the plan"),
    ("node-ip", "decided by the plan"),
    ("data-dir", "must stay where k3s puts it"),
    ("datastore-endpoint", "etcd on the servers is the datastore"),
    ("secrets-encryption", "always on"),
    ("write-kubeconfig-mode", "always 0600"),
    ("private-registry", "written as k3s.registries"),
    ("node-taint", "written as control-plane.taint"),
    ("tls-san", "written as control-plane.tls-san"),
    ("disable", "written as k3s.disable"),
    ("cluster-cidr", "written as k3s.cluster-cidr"),
    ("service-cidr", "written as k3s.service-cidr"),
];
