use std::collections::BTreeSet;

use super::*;
use crate::secret::Secret;
use crate::state::{Retired, RotationPhase};
use crate::step_id::{StepId, StepName};
use crate::steps::AnyStep;
use crate::testing::{plan, secrets};

/// A rotation of join tokens that is about to begin.
fn rotated(retired: Retired) -> Vec<AnyStep> {
    let phase = RotationPhase::Recorded;
    within(Retired { phase, ..retired }, Scope::Join)
}

fn within(retired: Retired, scope: Scope<'_>) -> Vec<AnyStep> {
    let options = Options {
        allow_outage: true,
        ..Options::read_only("state".into(), "kubeconfig".into())
    };
    let secrets = Secrets {
        retired,
        ..secrets()
    };
    rotate(&plan(), &options, &secrets, scope)
}

/// Slicer's token of the host of the servers and a group of agents.
fn n100() -> Vec<AnyStep> {
    let slicer = [("n100".to_owned(), Secret::new("old"))].into();
    let retired = Retired {
        slicer,
        ..Retired::default()
    };
    within(retired, Scope::Slicer("n100"))
}

fn agent() -> Retired {
    Retired {
        agent: Some(Secret::new("old")),
        ..Retired::default()
    }
}

fn server() -> Retired {
    Retired {
        server: Some(Secret::new("old")),
        ..Retired::default()
    }
}

fn waits_for(steps: &[AnyStep], id: &StepId) -> Vec<StepId> {
    let step = steps.iter().find(|step| step.id() == *id).unwrap();
    [step.meta().needs, step.meta().after].concat()
}

/// Everything that is waited for until a step begins.
fn all_before(steps: &[AnyStep], id: &StepId) -> BTreeSet<StepId> {
    let mut all = BTreeSet::new();
    let mut open = vec![id.clone()];
    while let Some(id) = open.pop() {
        if steps.iter().any(|step| step.id() == id) {
            let more = waits_for(steps, &id).into_iter();
            open.extend(more.filter(|id| all.insert(id.clone())));
        }
    }
    all
}

/// A server that is down already must come back before another one goes.
#[test]
fn nothing_is_touched_before_every_server_votes() {
    let steps = rotated(agent());
    for id in [
        StepName::K3sStarted.on("k3s-cp-1"),
        StepName::K3sConfig.on("k3s-cp-1"),
    ] {
        let before = all_before(&steps, &id);
        for first in [
            StepName::ServersWhole.on_cluster(),
            StepName::RotationBegun.on_cluster(),
        ] {
            assert!(before.contains(&first), "{first}");
        }
    }
    let steps = rotated(server());
    let sealed = all_before(&steps, &StepName::ServerToken.on_cluster());
    assert!(sealed.contains(&StepName::RotationBegun.on_cluster()));
    let steps = rotated(agent());
    assert!(
        steps
            .iter()
            .all(|step| step.id() != StepName::ServerToken.on_cluster())
    );
}

/// A server that was locked out by a rotation that was cut short comes back by the rest of it.
#[test]
fn a_rotation_that_goes_on_waits_for_no_server() {
    let begun = Retired {
        phase: RotationPhase::Begun,
        ..server()
    };
    let steps = within(begun, Scope::Join);
    assert!(
        steps
            .iter()
            .all(|step| step.id() != StepName::ServersWhole.on_cluster())
    );
    let before = all_before(&steps, &StepName::K3sConfig.on("k3s-cp-1"));
    assert!(before.contains(&StepName::ServerToken.on_cluster()));
    // One of them may be down, and none of the others can restart then.
    let before = all_before(&steps, &StepName::K3sStarted.on("k3s-cp-2"));
    assert!(!before.contains(&StepName::K3sStarted.on("k3s-cp-1")));
}

/// k3s's restart fails where its password file is newer than its data, whoever restarts it.
#[test]
fn no_server_takes_a_token_before_every_restart_is_safe() {
    for retired in [agent(), server()] {
        let steps = rotated(retired);
        for server in &plan().servers {
            let before = all_before(&steps, &StepName::K3sConfig.on(&server.name));
            for other in &plan().servers {
                assert!(before.contains(&StepName::K3sPasswordFile.on(&other.name)));
            }
        }
    }
}

/// Each is asked with both tokens before the next one restarts, and after the first the data are right.
#[test]
fn servers_take_a_token_one_after_the_other() {
    let steps = rotated(agent());
    let before = all_before(&steps, &StepName::K3sStarted.on("k3s-cp-3"));
    for server in ["k3s-cp-1", "k3s-cp-2"] {
        assert!(
            before.contains(&StepName::OldTokenRefused.on(server)),
            "{server}"
        );
    }
    assert!(before.contains(&StepName::AgentTokenSaved.on_cluster()));
    let first = all_before(&steps, &StepName::K3sStarted.on("k3s-cp-1"));
    assert!(!first.contains(&StepName::AgentTokenSaved.on_cluster()));
    for server in &plan().servers {
        assert!(first.contains(&StepName::K3sConfig.on(&server.name)));
    }
}

/// The servers refuse the old token as soon as they restart: an agent that is installed then must have the new one.
#[test]
fn daemons_get_the_token_first_where_agents_had_the_servers_one() {
    let shared = Retired {
        agent: Some(secrets().server_token),
        ..Retired::default()
    };
    for (retired, ahead) in [(shared, true), (agent(), false)] {
        let steps = rotated(retired);
        let started = StepName::K3sStarted.on("k3s-cp-1");
        let secret = StepName::K3sTokenSecret.on("k3s-agents-1");
        assert_eq!(all_before(&steps, &started).contains(&secret), ahead);
        assert_eq!(all_before(&steps, &secret).contains(&started), !ahead);
    }
}

/// The autoscaler is told of a token only when the daemons take it.
#[test]
fn a_hosts_new_host_token_is_in_use_before_anybody_is_told() {
    let steps = n100();
    let secret = waits_for(&steps, &StepName::K3sTokenSecret.on("k3s-agents-2"));
    for group in ["k3s-cp", "k3s-agents-2"] {
        assert!(secret.contains(&StepName::DaemonToken.on(group)));
    }
    let ids: Vec<StepId> = steps.iter().map(|step| step.id()).collect();
    assert!(!ids.contains(&StepName::DaemonToken.on("k3s-agents-1")));
}

/// Drains go by the API of the very servers that a restart of their daemon reboots.
#[test]
fn the_servers_of_a_host_reboot_after_its_agents_were_drained() {
    let steps = n100();
    let before = all_before(&steps, &StepName::DaemonToken.on("k3s-cp"));
    assert!(before.contains(&StepName::AgentsDrained.on("k3s-agents-2")));
    assert!(before.contains(&StepName::DaemonToken.on("k3s-agents-2")));
}

/// Whatever fails: it was stopped for a drain.
#[test]
fn the_autoscaler_is_started_again_in_the_end() {
    let steps = n100();
    let resumed = steps
        .iter()
        .find(|step| step.id() == StepName::AutoscalerResumed.on_cluster())
        .unwrap();
    assert_eq!(resumed.meta().needs, []);
    assert_eq!(
        resumed.meta().after,
        [StepName::AutoscalerRunning.on_cluster()]
    );
}

/// Those that stay by their certificates are drained and removed, one group after the other.
#[test]
fn agents_are_replaced_once_the_old_token_is_refused() {
    let steps = rotated(Retired {
        replace_agents: true,
        ..agent()
    });
    let given = StepName::WorkerToken.on("k3s-agents-2");
    assert!(steps.iter().all(|step| step.id() != given));
    let replaced = StepName::AgentsReplaced.on("k3s-agents-2");
    let before = all_before(&steps, &replaced);
    for id in [
        StepName::OldTokenRefused.on("k3s-cp-3"),
        StepName::K3sTokenSecret.on("k3s-agents-2"),
        StepName::AgentsDrained.on("k3s-agents-2"),
        StepName::AgentsReplaced.on("k3s-agents-1"),
    ] {
        assert!(before.contains(&id), "{id}");
    }
    // An upgrade of the chart would give it a pod in the middle of a drain.
    for id in [
        StepName::Chart.on_cluster(),
        StepName::AutoscalerRunning.on_cluster(),
    ] {
        assert!(all_before(&steps, &id).contains(&replaced), "{id}");
    }
}

/// A drain that a disruption budget stops left a host whose file its daemons did not take, and every later run was
/// refused by them.
#[test]
fn a_hosts_file_is_written_when_nothing_can_stop_the_restart_any_more() {
    let before = all_before(&n100(), &StepName::HostToken.on("n100"));
    for id in [
        StepName::ServersWhole.on_cluster(),
        StepName::AgentsDrained.on("k3s-agents-2"),
    ] {
        assert!(before.contains(&id), "{id}");
    }
    assert!(!before.contains(&StepName::DaemonToken.on("k3s-agents-2")));
}

/// Only the run that was allowed the outage restarts the daemons of a host, and only it ends that rotation.
#[test]
fn an_unfinished_slicer_token_is_no_business_of_a_join_token() {
    let both = Retired {
        slicer: [("ryzen".to_owned(), Secret::new("old"))].into(),
        ..agent()
    };
    let steps = within(both, Scope::Join);
    assert!(
        steps
            .iter()
            .any(|step| step.id() == StepName::K3sStarted.on("k3s-cp-1"))
    );
    let restart = [
        StepName::DaemonToken.on("k3s-agents-1"),
        StepName::HostToken.on("ryzen"),
    ];
    assert!(steps.iter().all(|step| !restart.contains(&step.id())));
}
