//! Facts about what is no longer there. By record (the plan) and by mark (what is found on hosts), and never anything
//! that somebody else made.

pub(crate) mod autoscaler_gone;
pub(crate) mod daemon_gone;
pub(crate) mod group_emptied;
pub(crate) mod mark_gone;
pub(crate) mod nodes_gone;
pub(crate) mod own_addresses_gone;
mod parts;
pub(crate) mod routes_gone;
pub(crate) mod routes_withdrawn;
pub(crate) mod snapshot_kept;

use std::collections::BTreeMap;

use crate::deletion::{is_name, serves_elsewhere};
use crate::facts::FoundDaemon;
use crate::plan::{Adopted, Decisions};

pub use crate::steps::group::nodes_drained::Drain;
pub use daemon_gone::DaemonToRemove;
pub use snapshot_kept::Snapshots;

/// The daemons of a cluster that may be on a host: those that were decided once, and those that are found there.
pub fn remains_on(
    cluster: &str,
    decisions: &Decisions,
    host: &str,
    found: &[FoundDaemon],
) -> Vec<DaemonToRemove> {
    let remains = |group: &str, shares: Option<&str>, adopted: Option<&Adopted>| DaemonToRemove {
        group: group.to_owned(),
        host: host.to_owned(),
        shares: shares.map(str::to_owned),
        adopted: adopted.cloned(),
        served_elsewhere: false,
    };
    let mut groups = BTreeMap::new();
    for daemon in found
        .iter()
        .filter(|daemon| daemon.cluster() == Some(cluster))
    {
        let own = daemon.directory.rsplit('/').next().unwrap_or_default();
        let served = daemon.groups.iter().map(String::as_str);
        for group in served
            .chain([own])
            .filter(|group| is_name(group) && is_name(own))
        {
            let shares = Some(own).filter(|own| *own != group);
            groups.insert(group.to_owned(), remains(group, shares, None));
        }
    }
    // What was decided of a group tells more of it than where it was found.
    let decided = decisions.groups.iter();
    for (name, group) in decided.filter(|(_, group)| group.host == host) {
        let decided = remains(name, group.shares.as_deref(), group.adopted.as_ref());
        groups.insert(name.clone(), decided);
    }
    let mut remains: Vec<DaemonToRemove> = groups.into_values().collect();
    heed(&mut remains, cluster, decisions, found);
    remains
}

/// Notes which of the daemons that are to go have a namesake on their host that is not the cluster's.
pub fn heed(
    remains: &mut [DaemonToRemove],
    cluster: &str,
    decisions: &Decisions,
    found: &[FoundDaemon],
) {
    let adopted = decisions.groups.values();
    let adopted: Vec<&Adopted> = adopted.filter_map(|group| group.adopted.as_ref()).collect();
    for daemon in remains {
        daemon.served_elsewhere |= serves_elsewhere(cluster, &daemon.group, &adopted, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{decided, found_daemon};

    #[test]
    fn what_is_found_counts_when_it_is_ours_and_has_a_harmless_name() {
        let found = [
            found_daemon("/var/lib/slicer-k3s/home/k3s-old"),
            found_daemon("/var/lib/slicer-k3s/other/theirs"),
            found_daemon("/root/k3s-agents"),
            found_daemon("/var/lib/slicer-k3s/home/.."),
        ];
        let remains = remains_on("home", &decided(), "ryzen", &found);
        let groups: Vec<_> = remains.iter().map(|daemon| &*daemon.group).collect();
        assert_eq!(groups, ["k3s-agents-1", "k3s-old"]);
    }

    /// By the name alone its bridge would be taken for ours.
    #[test]
    fn a_namesake_on_the_host_is_noted() {
        let mut theirs = found_daemon("/root/k3s-agents");
        theirs.groups = vec!["k3s-agents-1".into()];
        let remains = remains_on("home", &decided(), "ryzen", &[theirs]);
        assert!(remains[0].served_elsewhere);
        let mut ours = found_daemon("/var/lib/slicer-k3s/home/k3s-agents-1");
        ours.groups = vec!["k3s-agents-1".into()];
        assert!(!remains_on("home", &decided(), "ryzen", &[ours])[0].served_elsewhere);
    }
}
