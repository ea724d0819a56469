//! Facts about what is no longer there. By record (the plan) and by mark (what is found on hosts), and never anything
//! that somebody else made.

mod autoscaler_gone;
mod daemon_gone;
mod mark_gone;
mod routes_gone;
mod snapshot_kept;

use std::path::PathBuf;

use crate::pipeline::{Step, StepId};
use crate::plan::{Decisions, FoundDaemon, Plan};

pub use daemon_gone::Remains;

/// Everything of a cluster gone from the hosts that are connected; `snapshot` is where etcd's last one is to be kept.
pub fn destroy(
    plan: &Plan,
    hosts: &[String],
    remains: &[Remains],
    snapshot: Option<PathBuf>,
) -> Vec<Box<dyn Step>> {
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    let mut first: Vec<StepId> = Vec::new();
    if let Some(file) = snapshot {
        steps.push(Box::new(snapshot_kept::SnapshotKept::new(file)));
        first.push(snapshot_kept::id());
    }
    steps.push(Box::new(autoscaler_gone::AutoscalerGone::new(&first)));
    for host in hosts {
        let mut here = Vec::new();
        for daemon in remains.iter().filter(|daemon| daemon.host == *host) {
            let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon)
                .needs(&first)
                .after(&[autoscaler_gone::id()]);
            here.push(step.id());
            steps.push(Box::new(step));
        }
        steps.push(Box::new(routes_gone::RoutesGone::new(host, &here)));
        here.push(routes_gone::id(host));
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
    let decided = decisions
        .groups
        .iter()
        .filter(|(_, group)| group.host == host)
        .map(|(name, _)| name.clone());
    let found = found
        .iter()
        .filter(|daemon| daemon.cluster() == Some(cluster))
        .filter_map(|daemon| {
            let group = daemon.directory.rsplit('/').next()?;
            is_name(group).then(|| group.to_owned())
        });
    let groups: std::collections::BTreeSet<String> = decided.chain(found).collect();
    groups
        .into_iter()
        .map(|group| Remains {
            group,
            host: host.to_owned(),
        })
        .collect()
}

/// The name of a directory comes from a machine, and what is called so gets deleted.
fn is_name(group: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !group.is_empty() && group.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::plan;

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

    /// A snapshot that cannot be taken keeps everything; an autoscaler that cannot be stopped keeps nothing.
    #[test]
    fn only_a_missing_snapshot_holds_up_the_rest() {
        let plan = plan();
        let remains = remains_on("home", &decided(), "n100", &[]);
        let steps = destroy(&plan, &["n100".into()], &remains, Some("x".into()));
        for step in steps.iter().filter(|step| step.id().name == "daemon-gone") {
            assert_eq!(step.needs(), [snapshot_kept::id()]);
            assert_eq!(step.after(), [autoscaler_gone::id()]);
        }
        let last = steps.last().unwrap();
        assert_eq!(last.id(), mark_gone::id("n100"));
        assert_eq!(last.needs().len(), 3);
    }
}
