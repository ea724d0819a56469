//! What a k3s journal says of a server that does not start: why its process ended, or what it waits for.

mod line;
mod troubles;

pub use troubles::Trouble;

use crate::remote::Start;
use line::Line;
use troubles::Wait;

/// What the journal tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether a start ended of it; else k3s goes on, and waits.
    pub ended: bool,
    /// k3s's own message.
    pub words: String,
    /// What that means, where it is known.
    pub trouble: Option<Trouble>,
}

/// The texts to look for in a journal for what [`told`] reads.
pub fn texts() -> Vec<&'static str> {
    line::ENDS.into_iter().chain(troubles::waits()).collect()
}

/// Why the newest of these starts that says something ended, or what it waits for.
pub fn told(starts: &[Start]) -> Option<Told> {
    starts.iter().rev().find_map(|start| {
        let lines: Vec<Line> = start.lines.iter().map(|line| line::read(line)).collect();
        ended(&lines).or_else(|| waits(&lines))
    })
}

/// The message that a start ended of: its last fatal one, else the request to shut down, else its crash.
fn ended(lines: &[Line]) -> Option<Told> {
    let last = |wanted: fn(&Line) -> Option<&String>| lines.iter().rev().find_map(wanted);
    let fatal = last(|line| match line {
        Line::Fatal(words) => Some(words),
        _ => None,
    });
    let shutdown = last(|line| match line {
        Line::Shutdown(words) => Some(words),
        _ => None,
    });
    let panic = last(|line| match line {
        Line::Panic(words) => Some(words),
        _ => None,
    });
    // Whatever still starts while k3s shuts down fails for that reason.
    let own = fatal.filter(|words| shutdown.is_none() || !words.contains("context canceled"));
    let words = own.or(shutdown).or(panic)?;
    Some(Told {
        ended: true,
        words: words.clone(),
        trouble: troubles::of_end(words),
    })
}

/// What a start that has not ended waits for, by its newest line that tells.
fn waits(lines: &[Line]) -> Option<Told> {
    let (words, wait) = lines.iter().rev().find_map(|line| match line {
        Line::Other(words) => Some((words, troubles::of_wait(words)?)),
        _ => None,
    })?;
    match wait {
        Wait::Over => None,
        Wait::For(trouble) => Some(Told {
            ended: false,
            words: words.clone(),
            trouble: Some(trouble),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(lines: &[&str]) -> Vec<Start> {
        vec![Start {
            id: "a".into(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }]
    }

    fn logged(level: &str, message: &str) -> String {
        format!("time=\"2026-06-29T10:00:00Z\" level={level} msg={message:?}")
    }

    fn shutdown(reason: &str) -> String {
        logged("error", &format!("Shutdown request received: {reason:?}"))
    }

    /// What k3s prints: its journal, its certificates, the redirect of a channel.
    #[test]
    fn fuzz_k3s() {
        const SAMPLES: &[&str] = &[
            "{\"MESSAGE\":\"time=x level=fatal msg=\\\"failed to validate token: \\\\\\\"b\\\\\\\"\\\"\",\"_SYSTEMD_INVOCATION_ID\":\"0a\"}\n{\"MESSAGE\":[1,2],\"_SYSTEMD_INVOCATION_ID\":\"0b\"}\n",
            "time=x level=fatal msg=\"starting kubernetes: preparing server: failed to validate token\"\nx: critical configuration value mismatch\n",
            "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nWFla\n-----END CERTIFICATE-----\n",
            "https://github.com/k3s-io/k3s/releases/tag/v1.34.4%2Bk3s1",
            "k3s version v1.34.4+k3s1 (00000000)\ngo version go1.24\n",
        ];
        crate::fuzz::fuzz("k3s", SAMPLES, |text| {
            let lines: Vec<&str> = text.lines().collect();
            let read = crate::remote::starts(text);
            let mut shown: Vec<String> = [starts(&lines), crate::remote::since(&read, "0b", 3)]
                .iter()
                .filter_map(|starts| told(starts))
                .map(|told| crate::escape::escape(&told.words))
                .collect();
            shown.extend(
                crate::k3s::version_of(text)
                    .as_deref()
                    .map(crate::escape::escape),
            );
            let release = crate::k3s::Release::printed(text).or(crate::k3s::Release::parse(text));
            shown.extend(release.map(|release| release.to_string()));
            let token = crate::k3s::agent_token(text, &crate::secret::Secret::new("pw"));
            shown.extend(
                token
                    .err()
                    .map(|failure| crate::escape::escape(&failure.to_string())),
            );
            shown
        });
    }

    /// The messages that k3s ends with, by its source, and whether waiting may help.
    #[test]
    fn what_ends_k3s_is_understood() {
        let preparing =
            "Error: starting kubernetes: preparing server: failed to bootstrap cluster data: ";
        let fatal = |message: &str| logged("fatal", &format!("{preparing}{message}"));
        let join = |why: &str| shutdown(&format!("etcd cluster join failed: {why}"));
        let table = [
            (
                fatal("failed to validate server configuration: critical configuration value mismatch between servers"),
                "settings differ",
                false,
            ),
            (
                join("duplicate node name found, please use a unique name for this node"),
                "a member of its name",
                false,
            ),
            (
                join("cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"),
                "refuse its etcd",
                true,
            ),
            (join("rpc error"), "joining etcd failed", true),
            (
                fatal("failed to check if bootstrap data has been initialized: failed to validate token: token CA hash does not match the Cluster CA certificate hash: a != b"),
                "another cluster",
                false,
            ),
            (
                fatal("failed to check if bootstrap data has been initialized: failed to validate token: failed to get CA certs: Get \"https://192.168.137.2:6443/cacerts\": dial tcp 192.168.137.2:6443: connect: connection refused"),
                "cannot reach another server",
                true,
            ),
            (
                fatal("failed to reconcile with local datastore: bootstrap data already found and encrypted with different token"),
                "sealed with another server token",
                false,
            ),
            (
                logged("fatal", "/var/lib/rancher/k3s/server/cred/passwd newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore."),
                "file of passwords",
                false,
            ),
            (
                logged("fatal", "/var/lib/rancher/k3s/server/tls/server-ca.crt newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore."),
                "files of its own",
                false,
            ),
            (
                fatal("failed to reconcile with local datastore: no bootstrap data found in datastore - check server token value and verify datastore integrity"),
                "cut short",
                false,
            ),
            (
                fatal("failed to reconcile with local datastore: failed to create temporary datastore client: failed to read consistent index"),
                "cut short",
                false,
            ),
            (
                logged("fatal", "Error: starting kubernetes: preparing server: tombstone file has been detected but --server is empty: backup and delete ${datadir}/server/db to create a new cluster, or set --server to rejoin the cluster"),
                "names no server",
                false,
            ),
            (
                logged("fatal", "Error: cannot perform cluster-reset while server URL is set - remove server from configuration before resetting"),
                "to reset the cluster",
                false,
            ),
            (
                logged("fatal", "Error: failed to find memory cgroup (v2)"),
                "no memory cgroup",
                false,
            ),
            (
                logged("fatal", "Error: failed to find cpuset cgroup (v2)"),
                "lacks a cgroup controller",
                false,
            ),
            (
                shutdown("kubelet exited: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is in maintenance mode"),
                "cgroup v2",
                false,
            ),
            (
                shutdown("failed to wait for API server to become ready: context deadline exceeded"),
                "15 minutes",
                true,
            ),
            (
                r#"{"level":"fatal","msg":"failed to save","error":"write /var/lib/rancher: no space left on device"}"#.to_owned(),
                "disk is full",
                false,
            ),
        ];
        for (line, cause, passes) in table {
            let told = told(&starts(&[&line])).unwrap_or_else(|| panic!("{line}"));
            assert!(told.ended, "{line}");
            let trouble = told.trouble.unwrap_or_else(|| panic!("{line}"));
            assert!(trouble.cause.contains(cause), "{line}: {}", trouble.cause);
            assert_eq!(trouble.passes, passes, "{line}");
            assert!(!trouble.hint_for("a", "b", false).contains("delete node"));
        }
    }

    /// The cause of a unit that ended is in the message that ended it, and never in what stands around it.
    #[test]
    fn noise_around_the_end_is_no_cause() {
        let modprobe = "modprobe: FATAL: Module overlay not found in directory /lib/modules/6.1.90";
        let info = logged("info", "Starting k3s v1.34.4+k3s1");
        let fatal = logged("fatal", "Error: \"x\" is broken");
        let after = logged("info", "Stopping etcd server...");
        let told = |lines: &[&str]| told(&starts(lines));
        let found = told(&[modprobe, &info, &fatal, &after]).unwrap();
        assert_eq!(
            (found.words.as_str(), found.ended),
            ("Error: \"x\" is broken", true)
        );
        assert_eq!(told(&[modprobe, &info, &after]), None);
        let asked = shutdown("apiserver exited: EOF");
        let late = logged("fatal", "failed to start controllers: context canceled");
        for lines in [vec![&asked, &after], vec![&asked, &late]] {
            let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
            assert_eq!(told(&lines).unwrap().words, "apiserver exited: EOF");
        }
    }

    /// These never end the process: it tries again and again.
    #[test]
    fn what_k3s_waits_for_is_understood() {
        let table = [
            (
                "Waiting for other members to finish joining etcd cluster: etcdserver: too many learner members in cluster",
                "one in at a time",
            ),
            (
                "Waiting for other members to finish joining etcd cluster: etcdserver: unhealthy cluster",
                "does not answer",
            ),
            (
                "Waiting to retrieve etcd cluster member list: failed to get MemberList from server: Get \"https://192.168.137.2:6443/db/info\": EOF",
                "etcd's members",
            ),
            (
                "Retrying etcd cluster join: MemberAdd request timed out",
                "in time",
            ),
            (
                "Failed to test etcd connection: this server has not yet been promoted from learner to voting member",
                "voter yet",
            ),
            (
                "Failed to test etcd connection: this server is not a member of the etcd cluster. Found [a=https://192.168.137.3:2380], expect: b=https://192.168.137.9:2380",
                "at its address",
            ),
            (
                "Failed to test etcd connection: this server is a not a member of the etcd cluster. Found [], expect: b=x",
                "at its address",
            ),
            (
                "Failed to test etcd connection: failed to get etcd status: context deadline exceeded",
                "does not answer yet",
            ),
            (
                "Waiting to retrieve agent configuration; server is not ready: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag",
                "left over",
            ),
            (
                "This node has been removed from the cluster - please restart k3s to rejoin the cluster",
                "without etcd",
            ),
        ];
        let ready = logged("info", "Connection to etcd is ready");
        for (message, cause) in table {
            let line = logged("info", message);
            let told = |lines: &[&str]| told(&starts(lines));
            let found = told(&[&ready, &line]).unwrap_or_else(|| panic!("{line}"));
            let trouble = found.trouble.unwrap();
            assert!(!found.ended && trouble.passes, "{line}");
            assert!(trouble.cause.contains(cause), "{line}: {}", trouble.cause);
            assert_eq!(told(&[&line, &ready]), None, "{line}");
            // The journal is filtered by these texts.
            assert!(texts().iter().any(|text| line.contains(text)), "{line}");
        }
    }

    #[test]
    fn the_newest_start_counts() {
        let mut all = starts(&[&logged("fatal", "Error: not authorized")]);
        all.extend(starts(&[
            "x: etcdserver: too many learner members in cluster",
        ]));
        assert!(!told(&all).unwrap().ended);
        all.extend(starts(&[]));
        assert!(!told(&all).unwrap().ended);
        all.pop();
        all.pop();
        assert!(told(&all).unwrap().ended);
    }
}
