//! A new join token taken into use everywhere: on the servers in turn, on every daemon, on the workers that still hold the
//! old one. The steps are `init`'s own, which go by the secrets as they are recorded; what is special is the order, and
//! that the old token is refused in the end.

mod old_refused;
mod server_token;
mod servers_whole;
mod worker_token;

use std::sync::Arc;

use super::ordered::Ordered;
use super::{
    Options, autoscaler_running, chart, cloud_config, etcd_voter, group_reachable, k3s_config,
    k3s_started, k3s_token_secret, node_ready, quorum, seen,
};
use crate::pipeline::{Step, StepId};
use crate::plan::Plan;
use crate::state::Retired;

/// Takes the recorded tokens into use where `retired` ones may still be.
pub fn rotate(plan: &Plan, options: &Options, retired: &Retired) -> Vec<Box<dyn Step>> {
    let seen = Arc::new(seen::Seen::default());
    let turns = quorum::Turns::default();
    let mut steps: Vec<Box<dyn Step>> = vec![Box::new(servers_whole::ServersWhole)];
    let mut before = vec![servers_whole::id()];
    if retired.server.is_some() {
        steps.push(Box::new(Ordered::new(server_token::ServerToken, &before)));
        before.push(server_token::id());
    }
    // The files on all servers first: from then on a server that falls over comes back with the new token.
    for server in &plan.servers {
        let config = k3s_config::K3sConfig::new(server);
        steps.push(Box::new(Ordered::new(config, &before)));
    }
    before.extend(
        plan.servers
            .iter()
            .map(|server| k3s_config::id(&server.name)),
    );
    let mut used: Vec<StepId> = Vec::new();
    for server in &plan.servers {
        let started = k3s_started::K3sStarted::new(plan, server, options, &turns);
        steps.push(Box::new(Ordered::new(started, &before)));
        steps.push(Box::new(node_ready::NodeReady::new(server)));
        steps.push(Box::new(etcd_voter::EtcdVoter::new(server)));
        // The next one only when this one votes again: two at once may be a quorum.
        before.push(etcd_voter::id(&server.name));
        used.push(k3s_started::id(&server.name));
    }
    for daemon in plan.workers() {
        steps.push(Box::new(k3s_token_secret::K3sTokenSecret::new(
            plan, daemon, &seen,
        )));
        steps.push(Box::new(group_reachable::GroupReachable::new(
            plan, daemon, &seen,
        )));
        if retired.agent.is_some() {
            let mut needs = used.clone();
            needs.push(k3s_token_secret::id(&daemon.group));
            steps.push(Box::new(worker_token::WorkerToken::new(daemon, needs)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::plan;

    /// Two servers down at once are a lost quorum.
    #[test]
    fn each_server_restarts_only_when_the_one_before_votes_again() {
        let options = Options {
            install_slicer: false,
            accept_slicer_licence: false,
            allow_outage: true,
            workstation_route: false,
            kubeconfig: "kubeconfig".into(),
            proof: None,
        };
        let retired = Retired {
            agent: Some(crate::secret::Secret::new("old")),
            server: None,
        };
        let steps = rotate(&plan(), &options, &retired);
        let needs = |id: StepId| {
            let step = steps.iter().find(|step| step.id() == id).unwrap();
            step.needs()
        };
        let third = needs(k3s_started::id("k3s-cp-3"));
        for before in ["k3s-cp-1", "k3s-cp-2"] {
            assert!(third.contains(&etcd_voter::id(before)));
        }
        assert!(needs(k3s_started::id("k3s-cp-1")).contains(&servers_whole::id()));
        assert!(needs(k3s_config::id("k3s-cp-1")).contains(&servers_whole::id()));
        assert!(steps.iter().all(|step| step.id() != server_token::id()));
    }
}
