//! Facts about what is no longer there. By record (the plan) and by mark (what is found on hosts), and never anything
//! that somebody else made.

mod autoscaler_gone;
mod console_logs;
mod daemon_gone;
mod group_emptied;
mod mark_gone;
mod nodes_drained;
mod nodes_gone;
mod own_addresses_gone;
mod routes_gone;
mod routes_withdrawn;
mod snapshot_kept;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::Options;
use super::host_mark::HostMark;
use super::ordered::Ordered;
use crate::failure::Result;
use crate::generate::{self, Route};
use crate::pipeline::{Step, StepId};
use crate::plan::{Adopted, Decisions, FoundDaemon, Plan};
use crate::world::World;

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
    /// The groups that the autoscaler has, where that is known: others are not admitted by a removal.
    pub enrolled: Option<&'a BTreeSet<String>>,
    /// How to drain its nodes; `None` where the machine is gone for good.
    pub drain: Option<Drain>,
}

/// A host gone from its cluster, which from now on is as `plan` says: the autoscaler is told first, routes go when no
/// Node is left that is reached over them, and the machine's mark goes last.
pub fn leave(plan: &Plan, options: &Options, leaving: &Leaving<'_>) -> Vec<Box<dyn Step>> {
    let mut steps = super::told(plan, options);
    let has = |group: &str| leaving.enrolled.is_none_or(|groups| groups.contains(group));
    // What was never enrolled may not even run. Where nothing else is left, it is what the autoscaler must live on.
    if plan.workers().any(|daemon| has(&daemon.group)) {
        steps.retain(|step| {
            let subject = step.id().subject;
            plan.daemon(&subject).is_none() || has(&subject)
        });
    }
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
                let drained = [nodes_drained::id(group)];
                if let Some(step) = group_emptied::GroupEmptied::new(daemon) {
                    steps.push(Box::new(Ordered::new(step, &drained)));
                    steps.extend(carrier_described(plan, daemon));
                    group_emptied::id(group)
                } else {
                    let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon);
                    steps.push(Box::new(Ordered::new(step, &drained)));
                    daemon_gone::id(group)
                }
            }
        };
        steps.push(Box::new(nodes_gone::NodesGone::new(group, &[last])));
        gone.push(nodes_gone::id(group));
    }
    for host in &plan.hosts {
        let step = routes_withdrawn::RoutesWithdrawn::new(&host.name, leaving.routes, &gone);
        steps.push(Box::new(step));
    }
    if let Some(host) = plan.host(leaving.host).filter(|_| leaving.stays) {
        // What it says of the groups that were here.
        steps.push(Box::new(Ordered::new(HostMark::new(host), &gone)));
    }
    if leaving.drain.is_some() && !leaving.stays {
        let step = routes_gone::RoutesGone::new(leaving.host);
        steps.push(Box::new(Ordered::new(step, &gone)));
        gone.push(routes_gone::id(leaving.host));
        steps.push(Box::new(mark_gone::MarkGone::new(leaving.host, &gone)));
    }
    steps
}

/// The groups that the autoscaler has now.
pub async fn enrolled(world: &World) -> Result<BTreeSet<String>> {
    let kubernetes = world.kubernetes().await?;
    let file = super::cloud_config::current(&kubernetes).await?;
    let file = file.unwrap_or_default();
    let names = generate::named_groups(&String::from_utf8_lossy(&file));
    Ok(names.into_iter().collect())
}

/// The file of the daemon that served a group no longer speaks of it; what it has read it will read anew with its next start.
fn carrier_described(plan: &Plan, remains: &Remains) -> Option<Box<dyn Step>> {
    let carrier = plan.daemon(remains.shares.as_deref()?)?;
    let step = super::daemon_config::DaemonConfig::new(carrier);
    Some(Box::new(Ordered::new(
        step,
        &[group_emptied::id(&remains.group)],
    )))
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
    groups.into_values().collect()
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

    /// What one process serves goes with it, and what it leaves of the other group goes afterwards.
    #[test]
    fn a_group_of_anothers_daemon_has_a_bridge_and_no_unit() {
        let shared = crate::steps::testing::shared();
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

    /// The servers run on: their daemon is told to forget the group, and restarts when somebody allows it.
    #[test]
    fn agents_of_a_shared_daemon_leave_without_it() {
        let shared = crate::steps::testing::shared();
        let decided = shared.decisions(&Decisions::default());
        let mut remains = remains_on("home", &decided, "n100", &[]);
        remains.retain(|daemon| daemon.group == "k3s-agents-2");
        let mut plan = shared.clone();
        plan.daemons.pop();
        let leaving = Leaving {
            host: "n100",
            remains: &remains,
            routes: &[],
            stays: true,
            enrolled: None,
            drain: Some(Drain {
                limit: std::time::Duration::from_secs(1),
                force: false,
            }),
        };
        let steps = leave(&plan, &crate::steps::tests::options(), &leaving);
        let ids: Vec<String> = steps.iter().map(|step| step.id().to_string()).collect();
        let has = |id: &str| ids.iter().any(|known| known == id);
        assert!(
            has("group-emptied/k3s-agents-2")
                && has("daemon-config/k3s-cp")
                && has("host-mark/n100"),
            "{ids:?}"
        );
        assert!(
            !ids.iter().any(|id| id.starts_with("daemon-gone/")),
            "{ids:?}"
        );
    }

    fn left(drain: Option<Drain>) -> Vec<Box<dyn Step>> {
        without_ryzen(drain, None)
    }

    fn without_ryzen(
        drain: Option<Drain>,
        enrolled: Option<&BTreeSet<String>>,
    ) -> Vec<Box<dyn Step>> {
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
            enrolled,
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

    /// After an enrolment that was killed, another host's removal waited for daemons that had never been started.
    #[test]
    fn groups_that_were_never_enrolled_are_not_asked() {
        let asked = |enrolled: Option<&[&str]>| -> bool {
            let names: Option<BTreeSet<String>> =
                enrolled.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let steps = without_ryzen(None, names.as_ref());
            let asks = |id: &str| steps.iter().any(|step| step.id().to_string() == id);
            assert!(asks("cloud-config/cluster"));
            asks("group-reachable/k3s-agents-2") && asks("k3s-token-secret/k3s-agents-2")
        };
        assert!(asked(None));
        assert!(asked(Some(&["k3s-agents-1", "k3s-agents-2"])));
        assert!(asked(Some(&["k3s-agents-1"])), "nothing else is left");
        let mut plan = plan();
        let mut another = plan.daemons[2].clone();
        another.group = "k3s-agents-3".into();
        plan.daemons.push(another);
        let enrolled = BTreeSet::from(["k3s-agents-2".to_owned()]);
        let leaving = Leaving {
            host: "nobody",
            remains: &[],
            routes: &[],
            stays: false,
            enrolled: Some(&enrolled),
            drain: None,
        };
        let steps = leave(&plan, &crate::steps::tests::options(), &leaving);
        let subjects: BTreeSet<String> = steps.iter().map(|step| step.id().subject).collect();
        assert!(subjects.contains("k3s-agents-2"));
        assert!(!subjects.contains("k3s-agents-3") && !subjects.contains("k3s-agents-1"));
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
