//! `slicer-k3s remove-host`: a host, or its agents alone, leaves a cluster that lives on.

use std::collections::BTreeSet;

use super::add_host::told;
use crate::generate::Route;
use crate::plan::Plan;
use crate::step_id::{StepId, StepName};
use crate::steps::daemon::config::DaemonConfig;
use crate::steps::group::nodes_drained::{self, Drain};
use crate::steps::host::mark::HostMark;
use crate::steps::proof::Forgotten;
use crate::steps::removal::{
    DaemonToRemove, autoscaler_gone, daemon_gone, group_emptied, mark_gone, nodes_gone,
    routes_gone, routes_withdrawn,
};
use crate::steps::support::ordered::Ordered;
use crate::steps::{AnyStep, Options};

/// A host that is to leave its cluster.
pub struct Leaving<'a> {
    /// Its name.
    pub host: &'a str,
    /// Its daemons.
    pub remains: &'a [DaemonToRemove],
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
pub fn leave(plan: &Plan, options: &Options, leaving: &Leaving<'_>) -> Vec<AnyStep> {
    let mut steps = told(plan, options);
    let has = |group: &str| leaving.enrolled.is_none_or(|groups| groups.contains(group));
    // What was never enrolled may not even run. Where nothing else is left, it is what the autoscaler must live on.
    if plan.workers().any(|daemon| has(&daemon.group)) {
        steps.retain(|step| {
            let subject = step.id().subject;
            plan.daemon(&subject).is_none() || has(&subject)
        });
    }
    let told = if plan.workers().next().is_some() {
        StepName::AutoscalerRunning.on_cluster()
    } else {
        // It does not run without a group.
        steps.push(Box::new(autoscaler_gone::AutoscalerGone::new(&[])));
        StepName::AutoscalerGone.on_cluster()
    };
    let mut gone = vec![told.clone()];
    for daemon in leaving.remains {
        let group = &daemon.group;
        let last = match leaving.drain {
            None => told.clone(),
            Some(drain) => drained(&mut steps, plan, daemon, (drain, &told)),
        };
        steps.push(Box::new(nodes_gone::NodesGone::new(group, &[last])));
        gone.push(StepName::NodesGone.on(group));
        let forgotten = Forgotten::new(group, &[StepName::NodesGone.on(group)]);
        steps.push(Box::new(forgotten));
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
        gone.push(StepName::RoutesGone.on(leaving.host));
        steps.push(Box::new(mark_gone::MarkGone::new(leaving.host, &gone)));
    }
    steps
}

/// A group's nodes drained and its VMs gone, once the autoscaler no longer has it (`told`); the last of these steps.
fn drained(
    steps: &mut Vec<AnyStep>,
    plan: &Plan,
    daemon: &DaemonToRemove,
    (drain, told): (Drain, &StepId),
) -> StepId {
    let group = &daemon.group;
    steps.push(Box::new(nodes_drained::NodesDrained::new(
        group,
        drain,
        std::slice::from_ref(told),
    )));
    let drained = [StepName::NodesDrained.on(group)];
    if let Some(step) = group_emptied::GroupEmptied::new(daemon) {
        steps.push(Box::new(Ordered::new(step, &drained)));
        steps.extend(carrier_described(plan, daemon));
        StepName::GroupEmptied.on(group)
    } else {
        let step = daemon_gone::DaemonGone::new(&plan.cluster, daemon);
        steps.push(Box::new(Ordered::new(step, &drained)));
        StepName::DaemonGone.on(group)
    }
}

/// The file of the daemon that served a group no longer speaks of it; what it has read it will read anew with its next start.
fn carrier_described(plan: &Plan, remains: &DaemonToRemove) -> Option<AnyStep> {
    let carrier = plan.daemon(remains.shares.as_deref()?)?;
    let step = DaemonConfig::new(carrier);
    Some(Box::new(Ordered::new(
        step,
        &[StepName::GroupEmptied.on(&remains.group)],
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Decisions;
    use crate::steps::removal::remains_on;
    use crate::testing::{decided, plan};

    /// The servers run on: their daemon is told to forget the group, and restarts when somebody allows it.
    #[test]
    fn agents_of_a_shared_daemon_leave_without_it() {
        let shared = crate::testing::shared();
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
        let steps = leave(&plan, &crate::testing::options(), &leaving);
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

    fn left(drain: Option<Drain>) -> Vec<AnyStep> {
        without_ryzen(drain, None)
    }

    fn without_ryzen(drain: Option<Drain>, enrolled: Option<&BTreeSet<String>>) -> Vec<AnyStep> {
        let mut plan = plan();
        let remains = remains_on("home", &decided(), "ryzen", &[]);
        plan.hosts.retain(|host| host.name != "ryzen");
        plan.daemons.retain(|daemon| daemon.host != "ryzen");
        let options = crate::testing::options();
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

    fn needs(steps: &[AnyStep], id: &str) -> Vec<String> {
        let step = steps.iter().find(|step| step.id().to_string() == id);
        let needs = step.unwrap().meta().needs;
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
            // A group that is made again under its name is proven again.
            ("proof-forgotten/k3s-agents-1", "nodes-gone/k3s-agents-1"),
            ("routes-withdrawn/n100", "nodes-gone/k3s-agents-1"),
            ("routes-gone/ryzen", "nodes-gone/k3s-agents-1"),
            ("mark-gone/ryzen", "routes-gone/ryzen"),
        ];
        for (step, need) in order {
            assert!(needs(&steps, step).contains(&need.to_owned()), "{step}");
        }
        // The other hosts' tables shrink only at the end.
        let names: Vec<_> = steps.iter().map(|step| step.id().name).collect();
        assert!(!names.contains(&StepName::ScaleUp) && !names.contains(&StepName::Routes));
        assert!(steps.iter().all(|step| {
            let destroys = ["drained", "gone", "withdrawn"];
            !destroys
                .iter()
                .any(|word| step.id().name.name().contains(word))
                || step.meta().after.is_empty()
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
        let steps = leave(&plan, &crate::testing::options(), &leaving);
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
}
