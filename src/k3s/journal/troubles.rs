//! The troubles that k3s has: what it says, what that means, and what to do.

use crate::k3s::CONFIG_PATH;
use crate::names::k3s::API_PORT;

/// A known trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, for people.
    pub cause: &'static str,
    /// What to do; NAME, OTHER and CONFIG stand for the server, another one's address with its port, and the file of settings.
    hint: &'static str,
    /// Whether k3s gets over it by itself.
    pub passes: bool,
}

impl Trouble {
    /// Whether a first start ended before k3s had written the cluster's data: only an empty directory helps.
    pub fn is_cut_short(&self) -> bool {
        *self == CUT_SHORT
    }

    /// Whether k3s cannot read the cluster's data since they are sealed with another server token than its own.
    pub fn is_sealed_otherwise(&self) -> bool {
        *self == SEALED_OTHERWISE
    }

    /// What to do, with the name of the server and the address of another one in their places; `rotating` where the servers'
    /// token is being replaced.
    pub fn hint_for(&self, server: &str, other: &str, rotating: bool) -> String {
        let hint = if rotating && self.is_sealed_otherwise() {
            GOES_ON
        } else {
            self.hint
        };
        hint.replace("NAME", server)
            .replace("OTHER", &format!("{other}:{API_PORT}"))
            .replace("CONFIG", CONFIG_PATH)
    }
}

const fn lasts(cause: &'static str, hint: &'static str) -> Trouble {
    Trouble {
        cause,
        hint,
        passes: false,
    }
}

const fn passes(cause: &'static str, hint: &'static str) -> Trouble {
    Trouble {
        cause,
        hint,
        passes: true,
    }
}

/// Whether a server can be reached from another: its answer needs no token.
///
/// Source: k3s@af977adf pkg/server/handlers/router.go.
const PING: &str = "from this server: curl -k https://OTHER/ping";

/// Ends a message of k3s whose data are sealed with another server token. `slicer/server.sh` searches for its last words.
const SEALED: &str = "bootstrap data already found and encrypted with different token";

/// What k3s ends of (text in its last message, trouble): the first that is found counts, so the specific come first.
///
/// Source: k3s@af977adf pkg/cluster/bootstrap.go (mismatch, newer, no bootstrap data, validate token), pkg/cluster/storage.go
/// (sealed), pkg/etcd/etcd.go (duplicate name, tombstone, membership, join), pkg/etcd/store/store.go (consistent index, MVCC),
/// pkg/clientaccess/token.go (CA hash, CA certs), pkg/server/auth/auth.go (not authorized), pkg/cli/server/server.go
/// (cluster-reset), `pkg/cgroups/cgroups_linux.go`, pkg/util/api.go (API server). Of others: etcd v3.6
/// `server/etcdserver/cluster_util.go` (cluster information), kubernetes/kubernetes pkg/kubelet (cgroup v1), Linux (`ENOSPC`).
const ENDS: [(&str, Trouble); 22] = [
    (
        "no space left on device",
        lasts(
            "the VM's disk is full",
            "raise storage-gb of the control plane",
        ),
    ),
    (
        "critical configuration value mismatch",
        lasts(
            "its settings differ from the first server's",
            "on NAME: sudo journalctl -u k3s | grep 'critical configuration mismatched' names them; \
             make them equal in every CONFIG",
        ),
    ),
    (
        "duplicate node name found",
        lasts(
            "etcd has a member of its name, left over from an earlier VM",
            "slicer-k3s init takes it out",
        ),
    ),
    (
        "tombstone file has been detected",
        lasts(
            "it was removed from the cluster, and its config.yaml names no server to rejoin",
            "slicer-k3s init names one",
        ),
    ),
    (
        "token CA hash does not match",
        lasts(
            "its token belongs to another cluster",
            "compare the token in CONFIG with this cluster's",
        ),
    ),
    (SEALED, SEALED_OTHERWISE),
    (
        "cred/passwd newer than datastore",
        lasts(
            "its file of passwords was changed after the cluster's data was sealed",
            "slicer-k3s init has k3s write that file again at each start",
        ),
    ),
    (
        "newer than datastore",
        lasts(
            "files of its own are newer than the cluster's data",
            "on NAME: move the files that it names away: k3s makes them from the cluster's data at its next start",
        ),
    ),
    ("no bootstrap data found in datastore", CUT_SHORT),
    ("failed to read consistent index", CUT_SHORT),
    ("failed to stat MVCC KV store backend path", CUT_SHORT),
    (
        "cannot perform cluster-reset while server URL is set",
        lasts(
            "it is to reset the cluster, and its config.yaml names a server to join",
            "on NAME: take `server` out of CONFIG until the reset is done; slicer-k3s init writes it again",
        ),
    ),
    (
        "etcd cluster membership has been reset",
        lasts(
            "the cluster is reset, and it is still told to reset it",
            "on NAME: take `cluster-reset` out of CONFIG and its unit, then sudo systemctl restart k3s",
        ),
    ),
    (
        "not authorized",
        lasts(
            "another server refuses its token",
            "compare the token in CONFIG on both; a running server knows the one that it was started with",
        ),
    ),
    (
        "configured to not run on a host using cgroup v1",
        lasts(
            "this kubelet needs cgroup v2",
            "use an image with cgroup v2, or set kubelet-arg = [\"fail-cgroupv1=false\"] under [k3s.server-args]",
        ),
    ),
    (
        "failed to find memory cgroup",
        lasts(
            "the kernel has no memory cgroup",
            "use the full image, or add cgroup_memory=1 cgroup_enable=memory to the kernel's command line",
        ),
    ),
    (
        " cgroup (v2)",
        lasts(
            "the kernel lacks a cgroup controller that k3s needs",
            "use the full image",
        ),
    ),
    (
        "could not retrieve cluster information from the given URLs",
        passes(
            "the other servers refuse its etcd, or do not answer it",
            "on them: sudo journalctl -u k3s | grep 'rejected connection'; an address there that is not this server's is masqueraded on the way",
        ),
    ),
    (
        "etcd cluster join failed",
        passes(
            "joining etcd failed",
            "on the other servers: sudo journalctl -u k3s -n 50",
        ),
    ),
    ("failed to get CA certs", UNREACHED),
    (
        "failed to validate token",
        passes("it cannot check its token with another server", PING),
    ),
    (
        "failed to wait for API server to become ready",
        passes(
            "its API server was not ready within 15 minutes",
            "on NAME: sudo journalctl -u k3s | grep 'slow fdatasync': etcd wants a disk that syncs within 10 ms",
        ),
    ),
];

const SEALED_OTHERWISE: Trouble = lasts(
    "the cluster's data is sealed with another server token",
    "where another workstation made the cluster, or replaced its token, use that one's state directory; \
     where a snapshot was restored, it takes the token of its time: slicer-k3s token --reveal former-server",
);

/// What to do where the servers' token is being replaced: the run that does it has not ended.
const GOES_ON: &str =
    "slicer-k3s rotate-token --server goes on with the rotation and brings it back";

const CUT_SHORT: Trouble = lasts(
    "its first start was cut short before its data was whole, or its data is damaged",
    "slicer-k3s init: a server that never was a member begins with empty data",
);

const UNREACHED: Trouble = passes("it cannot reach another server's API", PING);

/// What k3s says once it has joined etcd: no wait before it counts any more.
///
/// Source: k3s@af977adf pkg/executor/embed/embed.go.
const READY: &str = "Connection to etcd is ready";

/// What k3s waits for without ending (text in its journal, trouble): the first that is found in the
/// newest line counts.
///
/// Source: k3s@af977adf pkg/executor/embed/etcd/etcd.go (removed), pkg/etcd/etcd.go (`pollJoin`, membership, learner),
/// pkg/executor/embed/embed.go (test of etcd), pkg/agent/config/config.go (node password), pkg/nodepassword/validate.go (its
/// event). Of others: etcd v3.6 api/v3rpc/rpctypes/error.go (`ErrTooManyLearners`, `ErrUnhealthy`).
const WAITS: [(&str, Trouble); 10] = [
    (
        "This node has been removed from the cluster",
        passes(
            "it was removed from the cluster, and runs on without etcd",
            "slicer-k3s init restarts it, so that it rejoins",
        ),
    ),
    (
        "too many learner members",
        passes(
            "another server is joining; k3s lets one in at a time",
            "wait: one that never starts is taken out after five minutes",
        ),
    ),
    (
        "unhealthy cluster",
        passes(
            "etcd waits for a member that does not answer",
            "wait; if it lasts, slicer-k3s status names the server that is down",
        ),
    ),
    (
        "Waiting to retrieve etcd cluster member list",
        passes(
            "the server that it joins does not give it etcd's members",
            PING,
        ),
    ),
    (
        "Retrying etcd cluster join",
        passes(
            "etcd does not take it in: its leader does not answer in time",
            "slicer-k3s status tells which servers are up",
        ),
    ),
    ("Node password rejected", PASSWORD),
    ("NodePasswordValidationFailed", PASSWORD),
    (
        "not a member of the etcd cluster",
        passes(
            "etcd has no member of its name at its address",
            "on NAME: sudo journalctl -u k3s | grep 'member of the etcd cluster' names the members",
        ),
    ),
    (
        "not yet been promoted from learner",
        passes(
            "etcd has not made it a voter yet",
            "wait: its leader promotes one server every 15 s",
        ),
    ),
    (
        "Failed to test etcd connection",
        passes(
            "its etcd does not answer yet",
            "on NAME: sudo journalctl -u k3s | grep 'test etcd connection'",
        ),
    ),
];

const PASSWORD: Trouble = passes(
    "a Node of its name is left over from an earlier VM",
    "slicer-k3s init deletes it",
);

/// The trouble that k3s ended of, by its last message.
pub(super) fn of_end(message: &str) -> Option<Trouble> {
    let found = ENDS.iter().find(|(text, _)| message.contains(text));
    found.map(|(_, trouble)| *trouble)
}

/// What a line says of a wait.
pub(super) enum Wait {
    /// k3s waits because of this.
    For(Trouble),
    /// It has got what it waited for.
    Over,
}

/// What a line says that k3s waits for, if anything.
pub(super) fn of_wait(message: &str) -> Option<Wait> {
    if message.contains(READY) {
        return Some(Wait::Over);
    }
    let found = WAITS.iter().find(|(text, _)| message.contains(text));
    found.map(|(_, trouble)| Wait::For(*trouble))
}

/// What to look for in the journal, beside the lines that end a start.
pub(super) fn waits() -> impl Iterator<Item = &'static str> {
    std::iter::once(READY).chain(WAITS.iter().map(|(text, _)| *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script asks the journal for the same trouble: where it missed it, a server that is locked out would pass for one that
    /// only starts slowly.
    #[test]
    fn the_script_searches_for_the_words_of_a_server_that_is_locked_out() {
        let script = include_str!("../../slicer/server.sh");
        let (_, after) = script.split_once("grep -q '").unwrap();
        let (words, _) = after.split_once('\'').unwrap();
        assert!(SEALED.ends_with(words), "{words}");
    }

    #[test]
    fn no_place_is_left_open_in_a_hint() {
        let troubles = ENDS.iter().chain(&WAITS).map(|(_, trouble)| trouble);
        for trouble in troubles {
            let hint = trouble.hint_for("cp-1", "192.168.137.3", false);
            for place in ["NAME", "OTHER", "CONFIG"] {
                assert!(!hint.contains(place), "{hint}");
            }
        }
        let hint = UNREACHED.hint_for("cp-1", "192.168.137.3", false);
        assert!(
            hint.ends_with("curl -k https://192.168.137.3:6443/ping"),
            "{hint}"
        );
    }
}
