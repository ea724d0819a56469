//! Slicer daemons of others on a host: none of theirs is removed, and none loses its token unasked.

use std::collections::BTreeSet;

use super::belongings::is_same_directory;
use crate::facts::FoundDaemon;
use crate::plan::{Adopted, Daemon};

/// Whether one of the daemons that were found serves this group, and is neither the cluster's own nor one of `adopted`.
pub fn serves_elsewhere(
    cluster: &str,
    group: &str,
    adopted: &[&Adopted],
    found: &[FoundDaemon],
) -> bool {
    let mut others = others(cluster, adopted, found).flat_map(|daemon| &daemon.groups);
    others.any(|served| served == group)
}

/// The daemons found on a host that are none of this cluster's, which has `own` there: all daemons of a host read one file for
/// their API token when they start. Each by its groups, or its directory where its YAML could not be read.
pub fn users_of_the_token<'a>(
    cluster: &str,
    own: impl Iterator<Item = &'a Daemon>,
    found: &[FoundDaemon],
) -> BTreeSet<String> {
    let adopted: Vec<&Adopted> = own.filter_map(|daemon| daemon.adopted.as_ref()).collect();
    let name = |daemon: &FoundDaemon| match daemon.groups.as_slice() {
        [] => daemon.directory.clone(),
        groups => format!("{} in {}", groups.join(", "), daemon.directory),
    };
    others(cluster, &adopted, found).map(name).collect()
}

/// The daemons that are someone else's. A daemon that runs is found twice, by its unit and by its process, and a link gives the
/// two different directories; their file, which is resolved, is the same.
fn others<'f>(
    cluster: &str,
    adopted: &[&Adopted],
    found: &'f [FoundDaemon],
) -> impl Iterator<Item = &'f FoundDaemon> {
    let by_directory = |daemon: &&FoundDaemon| {
        daemon.cluster() == Some(cluster)
            || adopted
                .iter()
                .any(|own| is_same_directory(&own.directory, &daemon.directory))
    };
    let ours: Vec<&FoundDaemon> = found.iter().filter(by_directory).collect();
    let files = ours.iter().map(|daemon| &daemon.config);
    let files = files.chain(adopted.iter().map(|own| &own.file));
    let files: BTreeSet<String> = files.filter(|file| !file.is_empty()).cloned().collect();
    let is_ours = move |daemon: &FoundDaemon| {
        files.contains(&daemon.config) || ours.iter().any(|own| std::ptr::eq(*own, daemon))
    };
    found.iter().filter(move |daemon| !is_ours(daemon))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{adopted, plan};

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
        let serves = |found: &[FoundDaemon], adopted: &[&Adopted]| {
            serves_elsewhere("home", "a-1", adopted, found)
        };
        let mut handed_over = adopted(&plan().daemons[1]);
        handed_over.directory = "/root/k3s-agents".into();
        assert!(!serves(std::slice::from_ref(&ours), &[]));
        assert!(serves(&[ours, theirs.clone()], &[]));
        assert!(!serves(&[theirs], &[&handed_over]));
        assert!(!serves(&[found("/root/k3s-agents", "a-10")], &[]));
    }

    /// A daemon's process shows where a link leads: ours passed for another's, and its directory went under its VMs.
    #[test]
    fn a_daemon_of_ours_is_known_behind_a_link() {
        let with = |directory: &str, config: &str| FoundDaemon {
            config: config.into(),
            ..found(directory, "a-1")
        };
        let (file, link) = ("/mnt/nvme/home/a-1/a-1.yaml", "/mnt/nvme/home/a-1");
        let unit = with("/var/lib/slicer-k3s/home/a-1", file);
        let process = with(link, file);
        let namesake = with("/root/mine", "/root/mine/a-1.yaml");
        let others = |found: &[FoundDaemon], own: &[Daemon]| {
            let named = users_of_the_token("home", own.iter(), found);
            let adopted: Vec<&Adopted> = own.iter().filter_map(|it| it.adopted.as_ref()).collect();
            let serves = serves_elsewhere("home", "a-1", &adopted, found);
            assert_eq!(serves, !named.is_empty());
            named.len()
        };
        assert_eq!(others(&[unit.clone(), process.clone()], &[]), 0);
        assert_eq!(others(&[unit, process, namesake.clone()], &[]), 1);
        // Handed over by a unit that names its directory with a stroke at its end, or by a link.
        let mut own = plan().daemons[1].clone();
        let handed_over = Adopted {
            directory: "/home/alex/".into(),
            file: "/data/alex/a-1.yaml".into(),
            ..adopted(&own)
        };
        own.adopted = Some(handed_over);
        let both = [
            with("/home/alex", "/home/alex/other.yaml"),
            with("/data/alex", "/data/alex/a-1.yaml"),
        ];
        let own = std::slice::from_ref(&own);
        assert_eq!(others(&both, own), 0);
        assert_eq!(others(&[namesake], own), 1);
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
