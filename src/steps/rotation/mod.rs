//! A new join token taken into use everywhere: on the servers in turn, on every daemon, on the workers that still hold the
//! old one; or a new Slicer token of a host. The steps are `init`'s own, which go by the secrets as they are recorded; what
//! is special is the order, and that the old token is refused in the end. That servers restart one at a time is `quorum`'s.

pub(super) mod daemon_token;
mod host_token;
mod old_refused;
mod server_token;
mod servers_whole;
mod worker_token;

use std::sync::Arc;

use super::ordered::Ordered;
use super::restart::Cause;
use super::{
    Options, agents_drained, agents_settled, autoscaler_running, chart, cloud_config, etcd_voter,
    group_reachable, k3s_config, k3s_started, k3s_token_secret, node_ready, quorum, seen,
};
use crate::control_plane::ControlPlane;
use crate::pipeline::{Step, StepId};
use crate::plan::{Plan, Role};
use crate::state::Retired;

/// Takes the recorded tokens into use where `retired` ones may still be.
pub fn rotate(plan: &Plan, options: &Options, retired: &Retired) -> Vec<Box<dyn Step>> {
    let seen = Arc::new(seen::Seen::default());
    let turns = quorum::Turns::default();
    // Every server has its data: it is not in doubt how any of them starts.
    let as_they_are = ControlPlane::unquestioned(plan);
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(servers_whole::ServersWhole)];
    let mut before = vec![servers_whole::id()];
    if retired.server.is_some() {
        steps.push(Box::new(Ordered::new(server_token::ServerToken, &before)));
        before.push(server_token::id());
    }
    // The files on all servers first: from then on a server that falls over comes back with the new token.
    for server in &plan.servers {
        let config = k3s_config::K3sConfig::new(plan, server, &as_they_are);
        steps.push(Box::new(Ordered::new(config, &before)));
    }
    before.extend(
        plan.servers
            .iter()
            .map(|server| k3s_config::id(&server.name)),
    );
    let (renewed, answer) = slicer(plan, options, retired, &turns);
    steps.extend(renewed);
    let mut used: Vec<StepId> = Vec::new();
    for server in &plan.servers {
        let started = k3s_started::K3sStarted::new(plan, server, options, &turns, &as_they_are);
        steps.push(Box::new(Ordered::new(started, &before)));
        steps.push(Box::new(node_ready::NodeReady::new(server)));
        steps.push(Box::new(etcd_voter::EtcdVoter::new(server)));
        used.push(k3s_started::id(&server.name));
    }
    for daemon in plan.workers() {
        let secret = k3s_token_secret::K3sTokenSecret::new(plan, daemon, &seen);
        steps.push(Box::new(Ordered::new(secret, &answer)));
        let reachable = group_reachable::GroupReachable::new(plan, daemon, &seen);
        steps.push(Box::new(Ordered::new(reachable, &answer)));
        if retired.agent.is_some() {
            let mut needs = used.clone();
            needs.push(k3s_token_secret::id(&daemon.group));
            steps.push(Box::new(worker_token::WorkerToken::new(daemon, needs)));
        }
    }
    for daemon in retired.slicer.keys().flat_map(|host| plan.daemons_of(host)) {
        if daemon.role == Role::Workers {
            let settled = agents_settled::AgentsSettled::new(plan, daemon);
            steps.push(Box::new(Ordered::new(settled, &answer)));
        }
    }
    if plan.workers().next().is_some() {
        steps.push(Box::new(cloud_config::CloudConfig::new(plan, &seen)));
        steps.push(Box::new(chart::Chart));
        steps.push(Box::new(autoscaler_running::AutoscalerRunning::new(plan)));
    }
    for server in &plan.servers {
        let needs = vec![k3s_started::id(&server.name)];
        steps.push(Box::new(old_refused::OldRefused::new(server, needs)));
    }
    steps
}

/// Slicer's new tokens of hosts, and what must hold before their daemons are asked for anything.
fn slicer(
    plan: &Plan,
    options: &Options,
    retired: &Retired,
    turns: &quorum::Turns,
) -> (Vec<Box<dyn Step>>, Vec<StepId>) {
    let (mut steps, mut answer): (Vec<Box<dyn Step>>, Vec<StepId>) = Default::default();
    for host in retired.slicer.keys() {
        let Some(first) = plan.daemons_of(host).next() else {
            continue;
        };
        let token = host_token::HostToken::new(first);
        steps.push(Box::new(Ordered::new(token, &[servers_whole::id()])));
        for daemon in plan.daemons_of(host) {
            let drained = agents_drained::AgentsDrained::new(daemon, options, Cause::Token);
            if let Some(drained) = drained {
                steps.push(Box::new(Ordered::new(drained, &[host_token::id(host)])));
            }
            if daemon.shares.is_none() {
                let token = daemon_token::DaemonToken::new(plan, daemon, options, turns);
                steps.push(Box::new(token));
                answer.push(daemon_token::id(&daemon.group));
            }
        }
    }
    (steps, answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::plan;

    fn rotated(retired: &Retired) -> Vec<Box<dyn Step>> {
        let options = Options {
            allow_outage: true,
            ..Options::modest("state".into(), "kubeconfig".into())
        };
        rotate(&plan(), &options, retired)
    }

    fn needs(steps: &[Box<dyn Step>], id: &StepId) -> Vec<StepId> {
        steps.iter().find(|step| step.id() == *id).unwrap().needs()
    }

    /// A server that is down already must come back before another one goes.
    #[test]
    fn nothing_is_touched_before_every_server_votes() {
        let steps = rotated(&Retired {
            agent: Some(crate::secret::Secret::new("old")),
            ..Retired::default()
        });
        for id in [k3s_started::id("k3s-cp-1"), k3s_config::id("k3s-cp-1")] {
            assert!(needs(&steps, &id).contains(&servers_whole::id()));
        }
        assert!(steps.iter().all(|step| step.id() != server_token::id()));
    }

    /// The autoscaler is told of a token only when the daemons take it.
    #[test]
    fn a_hosts_new_host_token_is_in_use_before_anybody_is_told() {
        let steps = rotated(&Retired {
            slicer: [("n100".to_owned(), crate::secret::Secret::new("old"))].into(),
            ..Retired::default()
        });
        let secret = needs(&steps, &k3s_token_secret::id("k3s-agents-2"));
        for group in ["k3s-cp", "k3s-agents-2"] {
            assert!(secret.contains(&daemon_token::id(group)));
        }
        let ids: Vec<StepId> = steps.iter().map(|step| step.id()).collect();
        assert!(!ids.contains(&daemon_token::id("k3s-agents-1")));
    }
}
