//! What holds of all steps together.

use std::collections::HashSet;

use super::*;
use crate::control_plane::{ControlPlane, Judgement, Observed, Start, judge};
use crate::step_id::{StepId, StepName};
use crate::steps::Options;
use crate::steps::lists::init::all;
use crate::testing;
use crate::testing::options;

/// The steps of a cluster that was never made.
fn first(plan: &Plan) -> Vec<AnyStep> {
    let servers = plan.servers.iter().cloned();
    let nothing: Vec<_> = servers.map(|server| (server, Observed::Nothing)).collect();
    match judge(plan, &nothing, &[]) {
        Judgement::Clear(control_plane) => {
            init(plan, &options(), &control_plane, &testing::secrets())
        }
        Judgement::Refused(refusal) => panic!("{}", refusal.failure),
    }
}

/// The steps of a cluster whose first server gives up what it has and joins the second.
fn returned(plan: &Plan) -> Vec<AnyStep> {
    let start = Start::Join {
        via: "k3s-cp-2".into(),
        stale: true,
    };
    let control_plane = ControlPlane {
        starts: [("k3s-cp-1".to_owned(), start)].into(),
        set_aside: [("k3s-cp-1".to_owned(), true)].into(),
        ..ControlPlane::default()
    };
    init(plan, &options(), &control_plane, &testing::secrets())
}

/// What a lost server does comes in this order, and nobody with data waits for it.
#[test]
fn a_server_that_comes_back_waits_for_the_one_that_it_joins() {
    let steps = returned(&testing::plan());
    in_order(&steps);
    let needs = |name: &str| -> Vec<String> {
        let step = steps.iter().find(|step| step.id().to_string() == name);
        let needs = step.unwrap().meta().needs;
        needs.iter().map(ToString::to_string).collect()
    };
    let started = needs("k3s-started/k3s-cp-1");
    assert!(
        started.contains(&"old-node-removed/k3s-cp-1".to_owned()),
        "{started:?}"
    );
    assert!(
        started.contains(&"k3s-started/k3s-cp-2".to_owned()),
        "{started:?}"
    );
    assert!(needs("old-node-removed/k3s-cp-1").contains(&"k3s-config/k3s-cp-1".to_owned()));
    assert!(needs("k3s-config/k3s-cp-1").contains(&"data-set-aside/k3s-cp-1".to_owned()));
    assert!(
        !needs("k3s-started/k3s-cp-2")
            .iter()
            .any(|id| id.starts_with("k3s-started/"))
    );
}

/// A need that names no step counts as held: a slip of the pen would silently lose an order.
#[test]
fn every_need_is_a_step_that_comes_earlier() {
    for plan in [testing::plan(), testing::spread()] {
        in_order(&all(&plan, &options()));
        in_order(&first(&plan));
    }
}

fn in_order(steps: &[AnyStep]) {
    let all: HashSet<_> = steps.iter().map(|step| step.id()).collect();
    assert_eq!(all.len(), steps.len(), "two steps share an id");
    for step in steps {
        for need in step.meta().needs.into_iter().chain(step.meta().after) {
            assert!(all.contains(&need), "{} needs {need}", step.id());
        }
    }
    let mut held = HashSet::new();
    while held.len() < steps.len() {
        let ready: Vec<_> = steps
            .iter()
            .filter(|step| !held.contains(&step.id()))
            .filter(|step| {
                step.meta()
                    .needs
                    .iter()
                    .chain(&step.meta().after)
                    .all(|need| held.contains(need))
            })
            .map(|step| step.id())
            .collect();
        assert!(!ready.is_empty(), "steps wait for each other in a circle");
        held.extend(ready);
    }
}

/// Servers, other groups' daemons and what is on other hosts are nobody's business when a host is added.
#[test]
fn a_host_more_touches_no_bystander() {
    let plan = testing::plan();
    let steps = add_hosts(&plan, &options(), &["ryzen".into()]);
    let ids: Vec<String> = steps.iter().map(|step| step.id().to_string()).collect();
    for id in [
        "slicer-installed/ryzen",
        "daemon-running/k3s-agents-1",
        "routes/n100",
        "group-reachable/k3s-agents-2",
        "autoscaler-running/cluster",
        "scale-up/k3s-agents-1",
    ] {
        assert!(ids.contains(&id.to_owned()), "{id}");
    }
    for id in [
        "slicer-installed/n100",
        "daemon-running/k3s-cp",
        "daemon-running/k3s-agents-2",
        "k3s-started/k3s-cp-1",
        "scale-up/k3s-agents-2",
    ] {
        assert!(!ids.contains(&id.to_owned()), "{id}");
    }
}

/// Servers 2 and 3 prepare while 1 starts; the autoscaler does not wait for the last voter.
#[test]
fn the_critical_path_holds_no_needless_wait() {
    let steps = first(&testing::plan());
    let needs = |name: &str| {
        let mut reached = HashSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(id) = open.pop() {
            let step = steps
                .iter()
                .find(|step| step.id().to_string() == id)
                .unwrap();
            for need in step.meta().needs.into_iter().chain(step.meta().after) {
                if reached.insert(need.to_string()) {
                    open.push(need.to_string());
                }
            }
        }
        reached
    };
    assert!(!needs("k3s-installed/k3s-cp-2").contains("k3s-started/k3s-cp-1"));
    assert!(needs("k3s-started/k3s-cp-2").contains("k3s-started/k3s-cp-1"));
    assert!(!needs("k3s-started/k3s-cp-3").contains("k3s-started/k3s-cp-2"));
    let autoscaler = needs("autoscaler-running/cluster");
    assert!(!autoscaler.iter().any(|id| id.starts_with("etcd-voter/")));
    assert!(!autoscaler.contains("node-ready/k3s-cp-2"));
    // The proof runs beside the joins; that servers reach an agent is asked of all of them.
    let proof = needs("scale-down/k3s-agents-1");
    assert!(!proof.iter().any(|id| id.starts_with("etcd-voter/")));
    assert!(proof.contains("vm-reachable/k3s-cp-3"));
    assert!(!proof.contains("k3s-started/k3s-cp-2"));
}

/// One process for two groups is described, run and restarted once, and its restart waits for its agents' drain.
#[test]
fn a_shared_daemon_is_one() {
    let plan = testing::shared();
    let options = Options {
        allow_outage: true,
        ..options()
    };
    let steps = all(&plan, &options);
    let named = |name: StepName| -> Vec<String> {
        let ids = steps.iter().map(|step| step.id());
        let of = ids.filter(|id| id.name == name);
        of.map(|id| id.subject).collect()
    };
    for once in [
        StepName::DaemonConfig,
        StepName::DaemonRunning,
        StepName::DaemonCurrent,
    ] {
        assert_eq!(named(once), ["k3s-cp", "k3s-agents-1"], "{once:?}");
    }
    assert_eq!(named(StepName::DaemonAnswers).len(), 3);
    let of = |id: StepId| steps.iter().find(|step| step.id() == id).unwrap();
    let current = of(StepName::DaemonCurrent.on("k3s-cp")).meta().needs;
    assert!(current.contains(&StepName::AgentsDrained.on("k3s-agents-2")));
    let answers = of(StepName::DaemonAnswers.on("k3s-agents-2")).meta().needs;
    assert_eq!(answers, [StepName::DaemonRunning.on("k3s-cp")]);
    let ids: Vec<StepId> = steps.iter().map(|step| step.id()).collect();
    for step in &steps {
        for need in step.meta().needs {
            assert!(ids.contains(&need), "{} needs {need}", step.id());
        }
    }
}
