//! `slicer-k3s rotate-token`: new join tokens, or a new Slicer token of a host, taken into use everywhere.

use std::sync::Arc;

use crate::control_plane::ControlPlane;
use crate::pipeline::Step as _;
use crate::plan::{Plan, Role};
use crate::state::Secrets;
use crate::step_id::{StepId, StepName};
use crate::steps::autoscaler::chart::Chart;
use crate::steps::autoscaler::cloud_config::CloudConfig;
use crate::steps::autoscaler::resumed::AutoscalerResumed;
use crate::steps::autoscaler::running::AutoscalerRunning;
use crate::steps::group::agents_drained::AgentsDrained;
use crate::steps::group::agents_settled::AgentsSettled;
use crate::steps::group::k3s_token_secret::K3sTokenSecret;
use crate::steps::group::reachable::GroupReachable;
use crate::steps::restart::RestartReason;
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::rotation::daemon_token::DaemonToken;
use crate::steps::rotation::host_token::HostToken;
use crate::steps::rotation::servers_whole::ServersWhole;
use crate::steps::rotation::{Order, Scope, agents_replaced};
use crate::steps::server::etcd_voter::EtcdVoter;
use crate::steps::server::k3s_config::K3sConfig;
use crate::steps::server::k3s_password_file::K3sPasswordFile;
use crate::steps::server::k3s_started::K3sStarted;
use crate::steps::server::node_ready::NodeReady;
use crate::steps::support::ordered::Ordered;
use crate::steps::support::run_context::RunContext;
use crate::steps::{AnyStep, Options};

/// Takes the recorded tokens of this scope into use where those that `secrets` has as retired may still be.
pub fn rotate(plan: &Plan, options: &Options, secrets: &Secrets, scope: Scope<'_>) -> Vec<AnyStep> {
    let seen = Arc::new(RunContext::default());
    // Every server has its data: it is not in doubt how any of them starts.
    let as_they_are = ControlPlane::unquestioned(plan);
    let (order, host) = match scope {
        Scope::Join => (Order::new(plan, secrets, options), None),
        Scope::Slicer(host) => (Order::default(), Some(host)),
    };
    let turns = order.turns(options);
    let mut steps = order.steps(plan);
    for server in &plan.servers {
        steps.push(Box::new(K3sPasswordFile::new(server)));
        let config = K3sConfig::new(plan, server, &as_they_are);
        steps.push(Box::new(Ordered::new(config, &order.config_needs())));
        // That the servers restart is what a rotation of join tokens is asked for.
        let purpose = scope == Scope::Join;
        let may_stop = options.allow_outage || purpose;
        let started = K3sStarted::new(plan, server, may_stop, &turns, &as_they_are);
        let started = Ordered::new(started, &order.start_needs(server));
        steps.push(Box::new(started.behind(&order.start_after())));
        steps.push(Box::new(NodeReady::new(server)));
        steps.push(Box::new(EtcdVoter::new(server)));
    }
    let (renewed, answer) =
        host.map_or_else(Default::default, |host| slicer(plan, options, host, &turns));
    steps.extend(renewed);
    for daemon in plan.workers() {
        let ahead = order.secrets_first();
        let secret = K3sTokenSecret::new(plan, daemon, &seen, ahead);
        steps.push(Box::new(Ordered::new(secret, &answer)));
        let reachable = GroupReachable::new(plan, daemon, &seen);
        steps.push(Box::new(Ordered::new(reachable, &answer)));
    }
    for daemon in host.into_iter().flat_map(|host| plan.daemons_of(host)) {
        if daemon.role == Role::Workers {
            let settled = AgentsSettled::new(plan, daemon, options).named();
            steps.push(Box::new(Ordered::new(settled, &answer)));
        }
    }
    let mut settled = Vec::new();
    if order.replaces_agents() {
        let instead = agents_replaced::steps(plan, options);
        settled.extend(instead.iter().map(|step| step.id()));
        steps.extend(instead);
    }
    if plan.workers().next().is_some() {
        let config = CloudConfig::new(plan, &seen);
        steps.push(Box::new(
            Ordered::new(config, &[]).behind(&order.chart_after()),
        ));
        // Its upgrade gives the autoscaler, which is stopped while agents are drained, its pod back.
        let chart = Ordered::new(Chart, &[]).behind(&settled);
        steps.push(Box::new(chart));
        let running = AutoscalerRunning::new(plan);
        steps.push(Box::new(Ordered::new(running, &[]).behind(&settled)));
        steps.push(Box::new(AutoscalerResumed));
    }
    steps
}

/// A host's new Slicer token, and what must hold before its daemons are asked for anything. What may be refused, and what may
/// take for ever, comes before the host's file is written.
fn slicer(
    plan: &Plan,
    options: &Options,
    host: &str,
    turns: &RollingRestart,
) -> (Vec<AnyStep>, Vec<StepId>) {
    let (mut steps, mut answer): (Vec<AnyStep>, Vec<StepId>) = Default::default();
    let Some(first) = plan.daemons_of(host).next() else {
        return (steps, answer);
    };
    steps.push(Box::new(ServersWhole::on_their_way_back()));
    let mut ready = vec![StepName::ServersWhole.on_cluster()];
    for daemon in plan.daemons_of(host) {
        if let Some(drained) = AgentsDrained::new(daemon, options, RestartReason::Token) {
            ready.push(drained.id());
            steps.push(Box::new(Ordered::new(
                drained,
                &[StepName::ServersWhole.on_cluster()],
            )));
        }
    }
    let token = HostToken::new(first);
    steps.push(Box::new(Ordered::new(token, &ready)));
    // A daemon of servers reboots them: not before those of agents have restarted.
    let daemons = || {
        plan.daemons_of(host)
            .filter(|daemon| daemon.shares.is_none())
    };
    let workers = daemons().filter(|daemon| daemon.role == Role::Workers);
    let workers: Vec<StepId> = workers
        .map(|daemon| StepName::DaemonToken.on(&daemon.group))
        .collect();
    for daemon in daemons() {
        let token = DaemonToken::new(plan, daemon, options, turns);
        let before: &[StepId] = match daemon.role {
            Role::ControlPlane => &workers,
            Role::Workers => &[],
        };
        steps.push(Box::new(Ordered::new(token, before)));
        answer.push(StepName::DaemonToken.on(&daemon.group));
    }
    (steps, answer)
}

#[cfg(test)]
mod tests;
