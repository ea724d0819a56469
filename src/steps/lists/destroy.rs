//! `slicer-k3s destroy`: everything of a cluster gone.

use crate::pipeline::Step as _;
use crate::plan::Plan;
use crate::step_id::{StepId, StepName};
use crate::steps::AnyStep;
use crate::steps::removal::{
    DaemonToRemove, Snapshots, autoscaler_gone, daemon_gone, mark_gone, own_addresses_gone,
    routes_gone, snapshot_kept,
};
use crate::steps::support::ordered::Ordered;

/// Everything of a cluster gone from the hosts that are connected; `snapshot` says where etcd's last one is to be kept, if it is.
pub fn destroy(
    plan: &Plan,
    hosts: &[String],
    remains: &[DaemonToRemove],
    snapshot: Option<Snapshots>,
) -> Vec<AnyStep> {
    let mut steps: Vec<AnyStep> = Vec::new();
    let mut first: Vec<StepId> = Vec::new();
    if let Some(snapshots) = snapshot {
        steps.push(Box::new(snapshot_kept::SnapshotKept::new(snapshots)));
        first.push(StepName::SnapshotKept.on_cluster());
    }
    steps.push(Box::new(autoscaler_gone::AutoscalerGone::new(&first)));
    for host in hosts {
        let mut here = Vec::new();
        for daemon in remains.iter().filter(|daemon| daemon.host == *host) {
            let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon);
            let carrier = daemon
                .shares
                .as_deref()
                .map(|group| StepName::DaemonGone.on(group));
            let step = Ordered::new(step, &first)
                .behind(&[StepName::AutoscalerGone.on_cluster()])
                .behind(carrier.as_slice());
            here.push(step.id());
            steps.push(Box::new(step));
        }
        // After the host's daemons were tried: their VMs are shut down over these routes.
        let addresses = own_addresses_gone::OwnAddressesGone::new(host);
        steps.push(Box::new(Ordered::new(addresses, &[]).behind(&here)));
        let routes = routes_gone::RoutesGone::new(host);
        steps.push(Box::new(Ordered::new(routes, &[]).behind(&here)));
        here.extend([
            StepName::OwnAddressesGone.on(host),
            StepName::RoutesGone.on(host),
        ]);
        steps.push(Box::new(mark_gone::MarkGone::new(host, &here)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plan::Decisions;
    use crate::steps::removal::remains_on;
    use crate::testing::{decided, found_daemon, plan};

    /// What one process serves goes with it, and what it leaves of the other group goes afterwards.
    #[test]
    fn a_group_of_anothers_daemon_has_a_bridge_and_no_unit() {
        let shared = crate::testing::shared();
        let decided = shared.decisions(&Decisions::default());
        let mut both = found_daemon("/var/lib/slicer-k3s/home/k3s-cp");
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
                .find(|step| step.id() == StepName::DaemonGone.on("k3s-agents-2"));
            assert!(
                bridge
                    .unwrap()
                    .meta()
                    .after
                    .contains(&StepName::DaemonGone.on("k3s-cp"))
            );
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
        for step in steps
            .iter()
            .filter(|step| step.id().name == StepName::DaemonGone)
        {
            assert_eq!(step.meta().needs, [StepName::SnapshotKept.on_cluster()]);
            assert_eq!(step.meta().after, [StepName::AutoscalerGone.on_cluster()]);
        }
        let last = steps.last().unwrap();
        assert_eq!(last.id(), StepName::MarkGone.on("n100"));
        for id in [
            StepName::OwnAddressesGone.on("n100"),
            StepName::RoutesGone.on("n100"),
        ] {
            assert!(last.meta().needs.contains(&id), "{id}");
        }
        assert_eq!(last.meta().needs.len(), 4);
    }
}
