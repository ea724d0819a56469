//! What one server holds, as it says itself.

use crate::etcd::{Member, members};
use crate::k3s::Release;

/// What a server that answers holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Whether etcd was ever started here: then k3s ignores `cluster-init` and does not join anew.
    pub data: bool,
    /// Whether SQLite is its datastore: there is no etcd data, and a `state.db`.
    pub sqlite: bool,
    /// SHA-256 of its CA certificate.
    pub ca: Option<String>,
    /// Seconds since the database was last written, by the server's own clock.
    pub written: Option<u64>,
    /// The size of the database.
    pub bytes: Option<u64>,
    /// etcd's members, where a quorum answers through this server.
    pub members: Option<Vec<Member>>,
    /// The k3s that its next start runs, where it was asked for.
    pub installed: Option<Release>,
    /// The stamp of that program (`Probe::FileStamp`): as long as it has it, it is the same one.
    pub stamp: Option<String>,
    /// The k3s whose API answers, where it was asked for.
    pub running: Option<Release>,
}

impl Held {
    /// Reads what `Probe::ServerData` printed; an answer that was cut is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut held = Self::default();
        let mut answered = false;
        let mut ended = false;
        for line in text.lines() {
            ended |= line == "end";
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            match key {
                "data" => {
                    // Another word is no answer: it must not pass for an empty disk.
                    answered = matches!(value, "yes" | "no" | "sqlite");
                    held.data = value == "yes";
                    held.sqlite = value == "sqlite";
                }
                "ca" => held.ca = is_hash(value).then(|| value.to_owned()),
                "written" => held.written = value.parse().ok(),
                "bytes" => held.bytes = value.parse().ok(),
                "members" => held.members = members(value),
                "installed" => held.installed = Release::printed(value),
                "stamp" => held.stamp = Some(value.to_owned()),
                "running" => held.running = Release::parse(value),
                _ => {}
            }
        }
        (answered && ended).then_some(held)
    }

    /// Whether its etcd has hardly begun: a cluster's database is larger than that as soon as its API has answered once.
    pub fn has_hardly_begun(&self) -> bool {
        self.data && self.bytes.is_some_and(|bytes| bytes < 1 << 20)
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_whole_answer_is_read_and_a_cut_one_is_none() {
        let info = r#"{"members":[{"ID":17179869184000000001,"name":"k3s-cp-1-00aa11bb","peerURLs":["https://192.168.137.2:2380"]},{"ID":2,"peerURLs":["https://192.168.137.3:2380"],"isLearner":true}]}"#;
        let text = format!(
            "data=yes\nca={CA}\nwritten=12\nmembers={info}\nrunning=v1.34.4+k3s1\n\
             stamp=12 70000000 2026-11-30 05:42:00.123456789 +0000\ninstalled=k3s version v1.34.5+k3s1 (00000000)\nend\n"
        );
        let held = Held::parse(&text).unwrap();
        assert_eq!(held.installed, Release::parse("v1.34.5+k3s1"));
        assert_eq!(held.running, Release::parse("v1.34.4+k3s1"));
        let stamp = held.stamp.as_deref();
        assert_eq!(
            stamp,
            Some("12 70000000 2026-11-30 05:42:00.123456789 +0000")
        );
        assert!(held.data && held.written == Some(12) && held.ca.as_deref() == Some(CA));
        let members = held.members.unwrap();
        assert_eq!(crate::etcd::ids(&members).len(), 2);
        assert!(members[0].is("k3s-cp-1", [10, 0, 0, 1].into()));
        assert!(members[1].is("another", [192, 168, 137, 3].into()));
        assert!(!members[1].is("k3s-cp", [192, 168, 137, 4].into()) && members[1].learner);
        for cut in ["", "data=no\n", "end\n", &text[..text.len() - 5]] {
            assert_eq!(Held::parse(cut), None, "{cut}");
        }
        let empty = Held::parse("data=no\nmembers=\nend\n").unwrap();
        assert_eq!(empty, Held::default());
    }

    /// What the script reports of a server with these files (paths below its data directory).
    fn reported(files: &[&str]) -> Held {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let file = root.path().join("server").join(file);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, "12345").unwrap();
        }
        let script = include_str!("../remote/server_data.sh")
            .replace("/var/lib/rancher/k3s", &root.path().display().to_string())
            .replace("$(curl ", "$(false ");
        let done = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        let stdout = String::from_utf8(done.unwrap().stdout).unwrap();
        Held::parse(&stdout).unwrap_or_else(|| panic!("no answer: {stdout}"))
    }

    /// k3s's default without `cluster-init` and `server`: such a server counted as empty.
    #[test]
    fn a_server_that_keeps_its_cluster_in_sqlite_is_not_empty() {
        let held = reported(&["db/state.db", "db/state.db-wal", "tls/server-ca.crt"]);
        assert!(held.sqlite && !held.data && held.ca.is_some());
        assert!(held.written.unwrap() < 60 && held.bytes == Some(5));
        // k3s writes the name before etcd has data.
        assert!(reported(&["db/state.db", "db/etcd/name"]).sqlite);
    }

    /// As k3s decides it: pkg/cluster/managed.go `assignManagedDriver`.
    #[test]
    fn a_state_db_beside_etcds_data_is_not_the_datastore() {
        let etcd = ["db/etcd/member/wal/0.wal", "db/etcd/member/snap/db"];
        for beside in ["db/state.db", "db/state.db.migrated"] {
            let held = reported(&[etcd[0], etcd[1], beside]);
            assert!(held.data && !held.sqlite, "{beside}");
        }
        let migrated = reported(&["db/state.db.migrated", "db/state.db-wal"]);
        assert_eq!(migrated, Held::default());
        assert_eq!(Held::parse("data=mysql\nmembers=\nend\n"), None);
    }

    /// A server's answer is nobody's to trust.
    #[test]
    fn nonsense_is_no_member_list() {
        for json in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"members":[]}"#,
            r#"{"members":[{"ID":-1}]}"#,
        ] {
            assert_eq!(members(json), None, "{json}");
        }
        assert!(!is_hash("x") && is_hash(CA));
    }
}
