//! What of k3s's own settings slicer-k3s decides, and where the user sets it instead.

use serde_json::{Map, Value};

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

/// Keys of k3s's config.yaml that `k3s.server-args` cannot hold because something here relies on their default, with what.
///
/// Source: k3s@af977adf pkg/cli/cmds/server.go (names); what relies on them is in this program.
pub const RELIED_ON: [(&str, &str); 18] = [
    (
        "https-listen-port",
        "servers, agents and routes use port 6443",
    ),
    ("supervisor-port", "servers and agents use port 6443"),
    ("apiserver-port", "the API is asked at port 6443"),
    (
        "bind-address",
        "each server's API is asked at 127.0.0.1 and at its node-ip",
    ),
    (
        "apiserver-bind-address",
        "each server's API is asked at 127.0.0.1",
    ),
    ("disable-helm-controller", "it installs the autoscaler"),
    ("disable-agent", "a server's Node shows how the server is"),
    ("disable-etcd", "etcd on the servers is the datastore"),
    ("disable-apiserver", "each server's own API is asked"),
    (
        "disable-controller-manager",
        "it deletes what belongs to removed Nodes",
    ),
    ("disable-scheduler", "every server schedules"),
    (
        "etcd-snapshot-dir",
        "snapshots are looked for where k3s puts them",
    ),
    (
        "write-kubeconfig",
        "the kubeconfig is read where k3s puts it",
    ),
    ("log", "causes of failures are read in the journal"),
    ("rootless", "the autoscaler's agents are not"),
    ("with-node-id", "Nodes are named as their VMs"),
    ("cluster-reset", "it ends after each start; run it by hand"),
    (
        "cluster-reset-restore-path",
        "it ends after each start; run it by hand",
    ),
];

/// The keys of `k3s.server-args` that they cannot hold, with the reason: all of [`SERVER_ARGS`], and of [`RELIED_ON`] what
/// says otherwise than k3s's default.
pub fn refused(
    server_args: &Map<String, Value>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let relied_on = RELIED_ON.into_iter().filter(|(key, _)| {
        let value = server_args.get(*key);
        !value.is_some_and(|value| *value == Value::Bool(false) || (*value == 6443))
    });
    let all = SERVER_ARGS.into_iter().chain(relied_on);
    all.filter(|(key, _)| server_args.contains_key(*key))
}
