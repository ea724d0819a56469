//! Facts about what is no longer there. By record (the plan) and by mark (what is found on hosts), and never anything
//! that somebody else made.

mod autoscaler_gone;
mod console_logs;
mod daemon_gone;
mod group_emptied;
mod leave;
mod mark_gone;
mod nodes_drained;
mod nodes_gone;
mod own_addresses_gone;
mod routes_gone;
mod routes_withdrawn;
mod snapshot_kept;

use std::collections::BTreeMap;

use super::ordered::Ordered;
use crate::deletion::{is_name, serves_elsewhere};
use crate::facts::FoundDaemon;
use crate::pipeline::{Step, StepId};
use crate::plan::{Adopted, Decisions, Plan};
use crate::steps::AnyStep;

pub use daemon_gone::Remains;
pub use leave::{Leaving, enrolled, leave};
pub use nodes_drained::Drain;
pub(super) use nodes_drained::{NodesDrained, end_drains};
pub use snapshot_kept::Snapshots;

/// Everything of a cluster gone from the hosts that are connected; `snapshot` says where etcd's last one is to be kept, if it is.
pub fn destroy(
    plan: &Plan,
    hosts: &[String],
    remains: &[Remains],
    snapshot: Option<Snapshots>,
) -> Vec<AnyStep> {
    let mut steps: Vec<AnyStep> = Vec::new();
    let mut first: Vec<StepId> = Vec::new();
    if let Some(snapshots) = snapshot {
        steps.push(Box::new(snapshot_kept::SnapshotKept::new(snapshots)));
        first.push(snapshot_kept::id());
    }
    steps.push(Box::new(autoscaler_gone::AutoscalerGone::new(&first)));
    for host in hosts {
        let mut here = Vec::new();
        for daemon in remains.iter().filter(|daemon| daemon.host == *host) {
            let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon);
            let carrier = daemon.shares.as_deref().map(daemon_gone::id);
            let step = Ordered::new(step, &first)
                .behind(&[autoscaler_gone::id()])
                .behind(carrier.as_slice());
            here.push(step.id());
            steps.push(Box::new(step));
        }
        // After the host's daemons were tried: their VMs are shut down over these routes.
        let addresses = own_addresses_gone::OwnAddressesGone::new(host);
        steps.push(Box::new(Ordered::new(addresses, &[]).behind(&here)));
        let routes = routes_gone::RoutesGone::new(host);
        steps.push(Box::new(Ordered::new(routes, &[]).behind(&here)));
        here.extend([own_addresses_gone::id(host), routes_gone::id(host)]);
        steps.push(Box::new(mark_gone::MarkGone::new(host, &here)));
    }
    steps
}

/// The daemons of a cluster that may be on a host: those that were decided once, and those that are found there.
pub fn remains_on(
    cluster: &str,
    decisions: &Decisions,
    host: &str,
    found: &[FoundDaemon],
) -> Vec<Remains> {
    let remains = |group: &str, shares: Option<&str>, adopted: Option<&Adopted>| Remains {
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
    let mut remains: Vec<Remains> = groups.into_values().collect();
    heed(&mut remains, cluster, decisions, found);
    remains
}

/// Notes which of the daemons that are to go have a namesake on their host that is not the cluster's.
pub fn heed(remains: &mut [Remains], cluster: &str, decisions: &Decisions, found: &[FoundDaemon]) {
    let adopted = decisions.groups.values();
    let adopted: Vec<&Adopted> = adopted.filter_map(|group| group.adopted.as_ref()).collect();
    for daemon in remains {
        daemon.served_elsewhere |= serves_elsewhere(cluster, &daemon.group, &adopted, found);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::plan;

    fn decided() -> Decisions {
        plan().decisions(&Decisions::default())
    }

    fn found(directory: &str) -> FoundDaemon {
        FoundDaemon {
            directory: directory.into(),
            ..FoundDaemon::default()
        }
    }

    #[test]
    fn what_is_found_counts_when_it_is_ours_and_has_a_harmless_name() {
        let found = [
            found("/var/lib/slicer-k3s/home/k3s-old"),
            found("/var/lib/slicer-k3s/other/theirs"),
            found("/root/k3s-agents"),
            found("/var/lib/slicer-k3s/home/.."),
        ];
        let remains = remains_on("home", &decided(), "ryzen", &found);
        let groups: Vec<_> = remains.iter().map(|daemon| &*daemon.group).collect();
        assert_eq!(groups, ["k3s-agents-1", "k3s-old"]);
    }

    /// By the name alone its bridge would be taken for ours.
    #[test]
    fn a_namesake_on_the_host_is_noted() {
        let mut theirs = found("/root/k3s-agents");
        theirs.groups = vec!["k3s-agents-1".into()];
        let remains = remains_on("home", &decided(), "ryzen", &[theirs]);
        assert!(remains[0].served_elsewhere);
        let mut ours = found("/var/lib/slicer-k3s/home/k3s-agents-1");
        ours.groups = vec!["k3s-agents-1".into()];
        assert!(!remains_on("home", &decided(), "ryzen", &[ours])[0].served_elsewhere);
    }

    /// What one process serves goes with it, and what it leaves of the other group goes afterwards.
    #[test]
    fn a_group_of_anothers_daemon_has_a_bridge_and_no_unit() {
        let shared = crate::testing::shared();
        let decided = shared.decisions(&Decisions::default());
        let mut both = found("/var/lib/slicer-k3s/home/k3s-cp");
        both.groups = vec!["k3s-cp".into(), "k3s-agents-2".into()];
        for (decisions, found) in [(decided, Vec::new()), (Decisions::default(), vec![both])] {
            let remains = remains_on("home", &decisions, "n100", &found);
            let carried: Vec<_> = remains
                .iter()
                .map(|daemon| (&*daemon.group, daemon.shares.as_deref()))
                .collect();
            assert_eq!(
                carried,
                [("k3s-agents-2", Some("k3s-cp")), ("k3s-cp", None)]
            );
            let steps = destroy(&shared, &["n100".into()], &remains, None);
            let bridge = steps
                .iter()
                .find(|step| step.id() == daemon_gone::id("k3s-agents-2"));
            assert!(bridge.unwrap().after().contains(&daemon_gone::id("k3s-cp")));
        }
    }

    /// A snapshot that cannot be taken keeps everything; an autoscaler that cannot be stopped keeps nothing.
    #[test]
    fn only_a_missing_snapshot_holds_up_the_rest() {
        let plan = plan();
        let remains = remains_on("home", &decided(), "n100", &[]);
        let steps = destroy(
            &plan,
            &["n100".into()],
            &remains,
            Some(Snapshots::of(Path::new("x"), "f00")),
        );
        for step in steps.iter().filter(|step| step.id().name == "daemon-gone") {
            assert_eq!(step.needs(), [snapshot_kept::id()]);
            assert_eq!(step.after(), [autoscaler_gone::id()]);
        }
        let last = steps.last().unwrap();
        assert_eq!(last.id(), mark_gone::id("n100"));
        for id in [own_addresses_gone::id("n100"), routes_gone::id("n100")] {
            assert!(last.needs().contains(&id), "{id}");
        }
        assert_eq!(last.needs().len(), 4);
    }
}
