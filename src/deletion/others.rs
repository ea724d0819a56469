//! Slicer daemons of others on a host: none of theirs is removed, and none loses its token unasked.

use std::collections::BTreeSet;

use crate::plan::{Daemon, FoundDaemon};

/// Whether one of the daemons that were found serves this group, and is neither in the cluster's own directories nor in one of
/// `adopted`.
pub fn serves_elsewhere(
    cluster: &str,
    group: &str,
    adopted: &[&str],
    found: &[FoundDaemon],
) -> bool {
    let others = found
        .iter()
        .filter(|daemon| !is_of(cluster, adopted, daemon));
    let mut others = others.flat_map(|daemon| &daemon.groups);
    others.any(|served| served == group)
}

/// The daemons found on a host that are none of this cluster's, which has `own` there: all daemons of a host read one file for
/// their API token when they start. Each by its groups, or its directory where its YAML could not be read.
pub fn users_of_the_token<'a>(
    cluster: &str,
    own: impl Iterator<Item = &'a Daemon>,
    found: &[FoundDaemon],
) -> BTreeSet<String> {
    let adopted: Vec<&str> = own
        .filter_map(|daemon| Some(daemon.adopted.as_ref()?.directory.as_str()))
        .collect();
    let others = found
        .iter()
        .filter(|daemon| !is_of(cluster, &adopted, daemon));
    let name = |daemon: &FoundDaemon| match daemon.groups.as_slice() {
        [] => daemon.directory.clone(),
        groups => format!("{} in {}", groups.join(", "), daemon.directory),
    };
    others.map(name).collect()
}

fn is_of(cluster: &str, adopted: &[&str], daemon: &FoundDaemon) -> bool {
    daemon.cluster() == Some(cluster) || adopted.contains(&&*daemon.directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{adopted, plan};

    fn found(directory: &str, group: &str) -> FoundDaemon {
        FoundDaemon {
            directory: directory.into(),
            groups: vec![group.into()],
            ..FoundDaemon::default()
        }
    }

    #[test]
    fn a_daemon_of_someone_else_is_known_by_its_directory() {
        let ours = found("/var/lib/slicer-k3s/home/a-1", "a-1");
        let theirs = found("/root/k3s-agents", "a-1");
        let serves = |found: &[FoundDaemon], adopted: &[&str]| {
            serves_elsewhere("home", "a-1", adopted, found)
        };
        assert!(!serves(std::slice::from_ref(&ours), &[]));
        assert!(serves(&[ours, theirs.clone()], &[]));
        assert!(!serves(&[theirs], &["/root/k3s-agents"]));
        assert!(!serves(&[found("/root/k3s-agents", "a-10")], &[]));
    }

    /// Their autoscaler was refused after their daemon's next restart.
    #[test]
    fn who_else_reads_the_token_is_named_once() {
        let mut own = plan().daemons;
        own[0].adopted = Some(adopted(&own[0]));
        let daemons = [
            found("/var/lib/slicer-k3s/home/a-1", "a-1"),
            found("/home/alex", "k3s-cp"),
            found("/var/lib/slicer-k3s/work/b-1", "b-1"),
            found("/root/mine", "mine"),
            found("/root/mine", "mine"),
            FoundDaemon {
                directory: "/opt/x".into(),
                ..FoundDaemon::default()
            },
        ];
        let others = users_of_the_token("home", own.iter(), &daemons);
        let named = [
            "/opt/x",
            "b-1 in /var/lib/slicer-k3s/work/b-1",
            "mine in /root/mine",
        ];
        assert_eq!(others, named.map(str::to_owned).into());
    }
}
