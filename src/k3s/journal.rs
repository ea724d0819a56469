//! What a k3s journal says when a server does not start: text → cause and next step.

/// A known trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, for people.
    pub cause: &'static str,
    /// What to do.
    pub hint: &'static str,
    /// Whether k3s gets over it by itself.
    pub passes: bool,
}

/// (text in the journal, cause, hint, passes): the first that is found counts, so the specific come first.
const TROUBLES: [(&str, &str, &str, bool); 18] = [
    (
        "critical configuration value mismatch",
        "its settings differ from the first server's",
        "make cluster-cidr, service-cidr, disable and secrets-encryption equal in every /etc/rancher/k3s/config.yaml",
        false,
    ),
    (
        "duplicate node name found",
        "an etcd member of its name is left over from an earlier VM",
        "on the first server: sudo k3s kubectl delete node NAME, then run again",
        false,
    ),
    (
        "token CA hash does not match",
        "its token belongs to another cluster",
        "compare the token in /etc/rancher/k3s/config.yaml with this cluster's",
        false,
    ),
    (
        "bootstrap data already found and encrypted with different token",
        "the cluster was made with another token",
        "put the state directory of the run that made it back",
        false,
    ),
    (
        "Node password rejected",
        "a Node of its name is left over from an earlier VM",
        "on the first server: sudo k3s kubectl delete node NAME, wait 10 s, then run again",
        false,
    ),
    (
        "not authorized",
        "the first server refuses its token",
        "compare the token in /etc/rancher/k3s/config.yaml on both servers",
        false,
    ),
    (
        "configured to not run on a host using cgroup v1",
        "this kubelet needs cgroup v2",
        "use an image with cgroup v2, or set kubelet-arg = [\"fail-cgroupv1=false\"] under [k3s] extra",
        false,
    ),
    (
        "Failed to find memory cgroup",
        "the kernel has no memory cgroup",
        "use the full image, or add cgroup_memory=1 cgroup_enable=memory to the kernel's command line",
        false,
    ),
    (
        "no default routes found",
        "the VM has no default route",
        "look at the group's gateway in its host YAML",
        false,
    ),
    (
        "no space left on device",
        "the VM's disk is full",
        "raise storage-gb of the control plane",
        false,
    ),
    (
        "not a member of the etcd cluster",
        "its address is not the one it joined with",
        "keep VM addresses; see `k3s server --cluster-reset`",
        false,
    ),
    (
        "too many learner members",
        "another server is joining; k3s lets one in at a time",
        "wait; if it lasts, delete the Node of a server that never finished joining",
        true,
    ),
    (
        "unhealthy cluster",
        "etcd waits for a member that does not answer",
        "wait; if it lasts, delete the Node of a server that never finished joining",
        true,
    ),
    (
        "etcd cluster join failed",
        "joining etcd failed",
        "look at the first server's journal: sudo journalctl -u k3s -n 50",
        true,
    ),
    (
        "could not retrieve cluster information from the given URLs",
        "the servers before it refuse its etcd, or do not answer it",
        "on them: sudo journalctl -u k3s | grep 'rejected connection'; an address there that is not this server's is masqueraded on the way",
        true,
    ),
    (
        "failed to get CA certs",
        "it cannot reach the first server's API",
        "from this server: curl -k https://FIRST:6443/ping",
        true,
    ),
    (
        "failed to validate token",
        "it cannot check its token with the first server",
        "from this server: curl -k https://FIRST:6443/ping",
        true,
    ),
    (
        "failed to wait for API server to become ready",
        "its API server did not start in time",
        "look for slow disks: etcd wants fsync below 10 ms",
        true,
    ),
];

impl Trouble {
    /// What to do, with the names of the server and of the first one's address in their places.
    pub fn hint_for(&self, server: &str, first: &str) -> String {
        self.hint.replace("NAME", server).replace("FIRST", first)
    }
}

/// What was said since somebody started the unit, which systemd has restarted so many times by itself since then: what
/// lies before tells of a trouble that may be mended.
pub fn since_start(journal: &str, restarts: u32) -> &str {
    let is_start = |line: &str| line.starts_with("Starting ") && line.contains("Kubernetes");
    let mut offset = 0;
    let mut starts = Vec::new();
    for line in journal.split_inclusive('\n') {
        if is_start(line) {
            starts.push(offset);
        }
        offset += line.len();
    }
    let first = usize::try_from(restarts)
        .ok()
        .and_then(|restarts| starts.iter().rev().nth(restarts));
    // Where fewer starts are seen, all that is seen was said since.
    &journal[first.copied().unwrap_or(0)..]
}

/// The trouble that the newest matching line tells of.
pub fn classify(journal: &str) -> Option<Trouble> {
    journal.lines().rev().find_map(|line| {
        TROUBLES
            .iter()
            .find(|(text, ..)| line.contains(text))
            .map(|&(_, cause, hint, passes)| Trouble {
                cause,
                hint,
                passes,
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What k3s prints: its journal, its certificates, the redirect of a channel.
    #[test]
    fn fuzz_k3s() {
        const SAMPLES: &[&str] = &[
            "level=fatal msg=\"starting kubernetes: preparing server: failed to validate token\"\nx: critical configuration value mismatch\n",
            "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nWFla\n-----END CERTIFICATE-----\n",
            "https://github.com/k3s-io/k3s/releases/tag/v1.34.4%2Bk3s1",
        ];
        crate::fuzz::fuzz("k3s", SAMPLES, |text| {
            let mut shown: Vec<String> = classify(text)
                .iter()
                .map(|trouble| trouble.cause.to_owned())
                .collect();
            shown.extend(
                crate::k3s::version_of(text)
                    .as_deref()
                    .map(crate::escape::escape),
            );
            let token = crate::k3s::agent_token(text, &crate::secret::Secret::new("pw"));
            shown.extend(
                token
                    .err()
                    .map(|failure| crate::escape::escape(&failure.to_string())),
            );
            shown
        });
    }

    /// Real journal lines, and whether waiting may help.
    #[test]
    fn journal_lines_are_understood() {
        let table = [
            (
                "level=fatal msg=\"starting kubernetes: preparing server: failed to validate server configuration: critical configuration value mismatch between servers\"",
                "settings differ",
                false,
            ),
            (
                "level=fatal msg=\"etcd cluster join failed: duplicate node name found, please use a unique name for this node\"",
                "etcd member of its name",
                false,
            ),
            (
                "msg=\"token CA hash does not match the Cluster CA certificate hash: a != b\"",
                "another cluster",
                false,
            ),
            (
                "failed to get CA certs: Get \"https://192.168.137.2:6443/cacerts\": dial tcp: connect: connection refused",
                "cannot reach",
                true,
            ),
            (
                "Waiting for other members to finish joining etcd cluster: etcdserver: too many learner members in cluster",
                "one in at a time",
                true,
            ),
            (
                r#"{"msg":"bootstrap failed","error":"cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"}"#,
                "refuse its etcd",
                true,
            ),
            (
                "kubelet is configured to not run on a host using cgroup v1",
                "cgroup v2",
                false,
            ),
            (
                "write /var/lib/rancher: no space left on device",
                "disk is full",
                false,
            ),
        ];
        for (line, cause, passes) in table {
            let trouble = classify(line).unwrap_or_else(|| panic!("{line}"));
            assert!(trouble.cause.contains(cause), "{line}: {}", trouble.cause);
            assert_eq!(trouble.passes, passes, "{line}");
        }
        assert_eq!(classify("level=info msg=\"Running kube-apiserver\""), None);
    }

    /// What an earlier run left in the journal was taken for the cause of the next failure.
    #[test]
    fn what_was_said_before_it_was_started_does_not_count() {
        let start = "Starting k3s.service - Lightweight Kubernetes...\n";
        let journal = format!("{start}no space left on device\n{start}Failed.\n{start}Failed.\n");
        assert_eq!(classify(since_start(&journal, 1)), None);
        assert!(classify(since_start(&journal, 2)).is_some());
        assert_eq!(since_start(&journal, 9), journal);
        assert_eq!(since_start("", 0), "");
    }

    #[test]
    fn the_newest_line_counts() {
        let journal = "x: not authorized\ninfo\ny: too many learner members\n";
        assert!(classify(journal).unwrap().passes);
    }
}
