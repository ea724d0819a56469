//! A new join token taken into use everywhere: on the servers in turn, on every daemon, on the workers that still hold the
//! old one; or a new Slicer token of a host. The steps are `init`'s own, which go by the secrets as they are recorded; what
//! is special is the [order](order), and that the old token is refused in the end. That servers restart one at a time is
//! `quorum`'s.

mod agent_token_saved;
pub(super) mod agents_replaced;
pub(super) mod daemon_token;
mod host_token;
pub(super) mod old_refused;
mod order;
mod put_token;
mod rotation_begun;
mod server_token;
mod servers_whole;
pub(super) mod worker_token;

use std::sync::Arc;
use std::time::Duration;

use super::ordered::Ordered;
use super::restart::Cause;
use super::{
    Options, agents_drained, agents_settled, autoscaler_resumed, autoscaler_running, chart,
    cloud_config, etcd_voter, group_reachable, k3s_config, k3s_password_file, k3s_started,
    k3s_token_secret, node_ready, quorum, seen,
};
use crate::control_plane::ControlPlane;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Step, StepId};
use crate::plan::{Plan, Role};
use crate::question::limited;
use crate::state::Secrets;
use crate::steps::AnyStep;
use crate::world::World;
pub(super) use order::Order;

/// Which of the tokens that are on record as retired a run replaces: what another run was allowed is not allowed to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The join tokens.
    Join,
    /// Slicer's token of this host.
    Slicer(&'a str),
}

/// Refuses to replace a token by a plan that lacks hosts: what is there would keep the old one, and no one would know.
pub fn is_complete(plan: &Plan) -> Result<()> {
    let server = plan
        .servers
        .iter()
        .find(|server| plan.host(&server.host).is_none());
    let absent = plan.absent.first().map(|(host, _)| host);
    let Some(host) = absent.or_else(|| server.map(|server| &server.host)) else {
        return Ok(());
    };
    Err(Failure::new(
        Code::SshUnreachable,
        format!("{host} was off when the cluster was planned last, and would keep the old token"),
    )
    .because("a token is replaced on all hosts")
    .hint(format!(
        "switch {host} on and run slicer-k3s init; where it is gone for good, slicer-k3s remove-host {host} --gone replaces the agents' token, too"
    )))
}

/// Why a rotation of join tokens may not begin now: not every server is Ready and votes. `None` where it may.
pub async fn hindrance(world: &World) -> Option<String> {
    let check = servers_whole::ServersWhole::at_first();
    match limited(ANSWER, check.check(world)).await {
        Ok(Ok(Finding::Done(_))) => None,
        Ok(Ok(Finding::Differs(why) | Finding::Unknown(why))) => Some(why),
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

/// How long the servers may take to say that they are well.
const ANSWER: Duration = Duration::from_secs(20);

/// Takes the recorded tokens of this scope into use where those that `secrets` has as retired may still be.
pub fn rotate(plan: &Plan, options: &Options, secrets: &Secrets, scope: Scope<'_>) -> Vec<AnyStep> {
    let seen = Arc::new(seen::Seen::default());
    // Every server has its data: it is not in doubt how any of them starts.
    let as_they_are = ControlPlane::unquestioned(plan);
    let (order, host) = match scope {
        Scope::Join => (Order::new(plan, secrets, options), None),
        Scope::Slicer(host) => (Order::default(), Some(host)),
    };
    let turns = order.turns(options);
    let mut steps = order.steps(plan);
    for server in &plan.servers {
        steps.push(Box::new(k3s_password_file::K3sPasswordFile::new(server)));
        let config = k3s_config::K3sConfig::new(plan, server, &as_they_are);
        steps.push(Box::new(Ordered::new(config, &order.config_needs())));
        // That the servers restart is what a rotation of join tokens is asked for.
        let purpose = scope == Scope::Join;
        let may_stop = options.allow_outage || purpose;
        let started = k3s_started::K3sStarted::new(plan, server, may_stop, &turns, &as_they_are);
        let started = Ordered::new(started, &order.start_needs(server));
        steps.push(Box::new(started.behind(&order.start_after())));
        steps.push(Box::new(node_ready::NodeReady::new(server)));
        steps.push(Box::new(etcd_voter::EtcdVoter::new(server)));
    }
    let (renewed, answer) =
        host.map_or_else(Default::default, |host| slicer(plan, options, host, &turns));
    steps.extend(renewed);
    for daemon in plan.workers() {
        let ahead = order.secrets_first();
        let secret = k3s_token_secret::K3sTokenSecret::new(plan, daemon, &seen, ahead);
        steps.push(Box::new(Ordered::new(secret, &answer)));
        let reachable = group_reachable::GroupReachable::new(plan, daemon, &seen);
        steps.push(Box::new(Ordered::new(reachable, &answer)));
    }
    for daemon in host.into_iter().flat_map(|host| plan.daemons_of(host)) {
        if daemon.role == Role::Workers {
            let settled = agents_settled::AgentsSettled::new(plan, daemon, options).named();
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
        let config = cloud_config::CloudConfig::new(plan, &seen);
        steps.push(Box::new(
            Ordered::new(config, &[]).behind(&order.chart_after()),
        ));
        // Its upgrade gives the autoscaler, which is stopped while agents are drained, its pod back.
        let chart = Ordered::new(chart::Chart, &[]).behind(&settled);
        steps.push(Box::new(chart));
        let running = autoscaler_running::AutoscalerRunning::new(plan);
        steps.push(Box::new(Ordered::new(running, &[]).behind(&settled)));
        steps.push(Box::new(autoscaler_resumed::AutoscalerResumed));
    }
    steps
}

/// Whether a run of `init` that succeeded has ended the rotation of join tokens that was under way: it has where it reached
/// every host, and where no agents are to be replaced, which it does not do.
pub fn is_over(plan: &Plan, secrets: &Secrets) -> bool {
    let retired = &secrets.retired;
    retired.has_join_tokens() && !retired.replace_agents && is_complete(plan).is_ok()
}

/// A host's new Slicer token, and what must hold before its daemons are asked for anything. What may be refused, and what may
/// take for ever, comes before the host's file is written.
fn slicer(
    plan: &Plan,
    options: &Options,
    host: &str,
    turns: &quorum::Turns,
) -> (Vec<AnyStep>, Vec<StepId>) {
    let (mut steps, mut answer): (Vec<AnyStep>, Vec<StepId>) = Default::default();
    let Some(first) = plan.daemons_of(host).next() else {
        return (steps, answer);
    };
    steps.push(Box::new(servers_whole::ServersWhole::on_their_way_back()));
    let mut ready = vec![servers_whole::id()];
    for daemon in plan.daemons_of(host) {
        if let Some(drained) = agents_drained::AgentsDrained::new(daemon, options, Cause::Token) {
            ready.push(drained.id());
            steps.push(Box::new(Ordered::new(drained, &[servers_whole::id()])));
        }
    }
    let token = host_token::HostToken::new(first);
    steps.push(Box::new(Ordered::new(token, &ready)));
    // A daemon of servers reboots them: not before those of agents have restarted.
    let daemons = || {
        plan.daemons_of(host)
            .filter(|daemon| daemon.shares.is_none())
    };
    let workers = daemons().filter(|daemon| daemon.role == Role::Workers);
    let workers: Vec<StepId> = workers
        .map(|daemon| daemon_token::id(&daemon.group))
        .collect();
    for daemon in daemons() {
        let token = daemon_token::DaemonToken::new(plan, daemon, options, turns);
        let before: &[StepId] = match daemon.role {
            Role::ControlPlane => &workers,
            Role::Workers => &[],
        };
        steps.push(Box::new(Ordered::new(token, before)));
        answer.push(daemon_token::id(&daemon.group));
    }
    (steps, answer)
}

#[cfg(test)]
mod tests;
