//! Facts about what is no longer there. By record (the plan) and by mark (what is found on hosts), and never anything
//! that somebody else made.

mod autoscaler_gone;
mod daemon_gone;
mod mark_gone;
mod nodes_drained;
mod nodes_gone;
mod own_addresses_gone;
mod routes_gone;
mod routes_withdrawn;
mod snapshot_kept;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Options;
use super::ordered::Ordered;
use crate::generate::Route;
use crate::pipeline::{Step, StepId};
use crate::plan::{Adopted, Decisions, FoundDaemon, Plan};

pub use daemon_gone::Remains;
pub use nodes_drained::Drain;
pub(super) use nodes_drained::NodesDrained;

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
            let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon);
            let step = Ordered::new(step, &first).behind(&[autoscaler_gone::id()]);
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

/// A host that is to leave its cluster.
pub struct Leaving<'a> {
    /// Its name.
    pub host: &'a str,
    /// Its daemons.
    pub remains: &'a [Remains],
    /// The routes to its VMs.
    pub routes: &'a [Route],
    /// Whether the host itself stays, and only these daemons go.
    pub stays: bool,
    /// How to drain its nodes; `None` where the machine is gone for good.
    pub drain: Option<Drain>,
}

/// A host gone from its cluster, which from now on is as `plan` says: the autoscaler is told first, routes go when no
/// Node is left that is reached over them, and the machine's mark goes last.
pub fn leave(plan: &Plan, options: &Options, leaving: &Leaving<'_>) -> Vec<Box<dyn Step>> {
    let mut steps = super::told(plan, options);
    let told = if plan.workers().next().is_some() {
        super::autoscaler_running::id()
    } else {
        // It does not run without a group.
        steps.push(Box::new(autoscaler_gone::AutoscalerGone::new(&[])));
        autoscaler_gone::id()
    };
    let mut gone = vec![told.clone()];
    for daemon in leaving.remains {
        let group = &daemon.group;
        let last = match leaving.drain {
            None => told.clone(),
            Some(drain) => {
                steps.push(Box::new(nodes_drained::NodesDrained::new(
                    group,
                    drain,
                    std::slice::from_ref(&told),
                )));
                let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon);
                let drained = [nodes_drained::id(group)];
                steps.push(Box::new(Ordered::new(step, &drained)));
                daemon_gone::id(group)
            }
        };
        steps.push(Box::new(nodes_gone::NodesGone::new(group, &[last])));
        gone.push(nodes_gone::id(group));
    }
    for host in &plan.hosts {
        let step = routes_withdrawn::RoutesWithdrawn::new(&host.name, leaving.routes, &gone);
        steps.push(Box::new(step));
    }
    if leaving.drain.is_some() && !leaving.stays {
        let step = routes_gone::RoutesGone::new(leaving.host);
        steps.push(Box::new(Ordered::new(step, &gone)));
        gone.push(routes_gone::id(leaving.host));
        steps.push(Box::new(mark_gone::MarkGone::new(leaving.host, &gone)));
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
        .map(|(name, group)| (name.clone(), group.adopted.clone()));
    let found = found
        .iter()
        .filter(|daemon| daemon.cluster() == Some(cluster))
        .filter_map(|daemon| {
            let group = daemon.directory.rsplit('/').next()?;
            is_name(group).then(|| (group.to_owned(), None))
        });
    // What was decided of a group tells more of it than where it was found.
    let groups: BTreeMap<String, Option<Adopted>> = found.chain(decided).collect();
    groups
        .into_iter()
        .map(|(group, adopted)| Remains {
            group,
            adopted,
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

    fn left(drain: Option<Drain>) -> Vec<Box<dyn Step>> {
        let mut plan = plan();
        let remains = remains_on("home", &decided(), "ryzen", &[]);
        plan.hosts.retain(|host| host.name != "ryzen");
        plan.daemons.retain(|daemon| daemon.host != "ryzen");
        let options = crate::steps::tests::options();
        let leaving = Leaving {
            host: "ryzen",
            remains: &remains,
            routes: &[],
            stays: false,
            drain,
        };
        leave(&plan, &options, &leaving)
    }

    fn needs(steps: &[Box<dyn Step>], id: &str) -> Vec<String> {
        let step = steps.iter().find(|step| step.id().to_string() == id);
        let needs = step.unwrap().needs();
        needs.iter().map(ToString::to_string).collect()
    }

    /// The autoscaler would make new agents of what is drained.
    #[test]
    fn a_host_leaves_in_order_and_its_mark_goes_last() {
        let steps = left(Some(Drain {
            limit: std::time::Duration::from_secs(9),
            force: false,
        }));
        let order = [
            ("nodes-drained/k3s-agents-1", "autoscaler-running/cluster"),
            ("daemon-gone/k3s-agents-1", "nodes-drained/k3s-agents-1"),
            ("nodes-gone/k3s-agents-1", "daemon-gone/k3s-agents-1"),
            ("routes-withdrawn/n100", "nodes-gone/k3s-agents-1"),
            ("routes-gone/ryzen", "nodes-gone/k3s-agents-1"),
            ("mark-gone/ryzen", "routes-gone/ryzen"),
        ];
        for (step, need) in order {
            assert!(needs(&steps, step).contains(&need.to_owned()), "{step}");
        }
        // The other hosts' tables shrink only at the end.
        let names: Vec<_> = steps.iter().map(|step| step.id().name).collect();
        assert!(!names.contains(&"scale-up") && !names.contains(&"routes"));
        assert!(steps.iter().all(|step| {
            let destroys = ["drained", "gone", "withdrawn"];
            !destroys.iter().any(|word| step.id().name.contains(word)) || step.after().is_empty()
        }));
    }

    #[test]
    fn a_dead_machine_is_not_asked_for_anything() {
        let steps = left(None);
        assert!(steps.iter().all(|step| step.id().subject != "ryzen"));
        let needs = needs(&steps, "nodes-gone/k3s-agents-1");
        assert_eq!(needs, ["autoscaler-running/cluster"]);
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
        for id in [own_addresses_gone::id("n100"), routes_gone::id("n100")] {
            assert!(last.needs().contains(&id), "{id}");
        }
        assert_eq!(last.needs().len(), 4);
    }
}
