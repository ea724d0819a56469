//! A new join token taken into use everywhere: on the servers in turn, on every daemon, on the workers that still hold the
//! old one; or a new Slicer token of a host. The steps are `init`'s own, which go by the secrets as they are recorded; what
//! is special is the [order](order), and that the old token is refused in the end. That servers restart one at a time is
//! `quorum`'s.

mod agent_token_saved;
mod agents_replaced;
pub(super) mod daemon_token;
mod host_token;
mod old_refused;
mod order;
mod put_token;
mod server_token;
mod servers_whole;
pub(super) mod worker_token;

use std::sync::Arc;

use super::ordered::Ordered;
use super::restart::Cause;
use super::{
    Options, agents_drained, agents_settled, autoscaler_resumed, autoscaler_running, chart,
    cloud_config, etcd_voter, group_reachable, k3s_config, k3s_password_file, k3s_started,
    k3s_token_secret, node_ready, quorum, seen,
};
use crate::control_plane::ControlPlane;
use crate::pipeline::{Step, StepId};
use crate::plan::{Plan, Role};
use crate::state::{Retired, Secrets};
pub(super) use order::Order;

/// What a run of a rotation is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// This run has retired the tokens: it begins only where every server is well.
    pub fresh: bool,
    /// The agents that are there are drained and removed, for they stay whatever their token is.
    pub replace_agents: bool,
}

/// Takes the recorded tokens into use where those that `secrets` has as retired may still be.
pub fn rotate(
    plan: &Plan,
    options: &Options,
    secrets: &Secrets,
    extent: Extent,
) -> Vec<Box<dyn Step>> {
    let seen = Arc::new(seen::Seen::default());
    // Every server has its data: it is not in doubt how any of them starts.
    let as_they_are = ControlPlane::unquestioned(plan);
    let order = Order::new(plan, secrets, extent.fresh);
    let turns = order.turns();
    let mut steps = order.steps(plan);
    if !secrets.retired.slicer.is_empty() && !order.waits_for_servers() {
        steps.push(Box::new(servers_whole::ServersWhole));
    }
    for server in &plan.servers {
        steps.push(Box::new(k3s_password_file::K3sPasswordFile::new(server)));
        let config = k3s_config::K3sConfig::new(plan, server, &as_they_are);
        steps.push(Box::new(Ordered::new(config, &order.config_needs())));
        let started = k3s_started::K3sStarted::new(plan, server, options, &turns, &as_they_are);
        let started = Ordered::new(started, &order.start_needs(server));
        steps.push(Box::new(started.behind(&order.start_after())));
        steps.push(Box::new(node_ready::NodeReady::new(server)));
        steps.push(Box::new(etcd_voter::EtcdVoter::new(server)));
    }
    let (renewed, answer) = slicer(plan, options, &secrets.retired, &turns);
    steps.extend(renewed);
    for daemon in plan.workers() {
        let ahead = order.secrets_first();
        let secret = k3s_token_secret::K3sTokenSecret::new(plan, daemon, &seen, ahead);
        steps.push(Box::new(Ordered::new(secret, &answer)));
        let reachable = group_reachable::GroupReachable::new(plan, daemon, &seen);
        steps.push(Box::new(Ordered::new(reachable, &answer)));
    }
    let replacing = extent.replace_agents && secrets.retired.agent.is_some();
    let hosts = secrets.retired.slicer.keys();
    for daemon in hosts.flat_map(|host| plan.daemons_of(host)) {
        if daemon.role == Role::Workers && !replacing {
            let settled = agents_settled::AgentsSettled::new(plan, daemon);
            steps.push(Box::new(Ordered::new(settled, &answer)));
        }
    }
    let mut settled = Vec::new();
    if replacing {
        let instead = agents_replaced::steps(plan);
        settled.extend(instead.iter().map(|step| step.id()));
        // Those that are there are not given the new token.
        steps.retain(|step| step.id().name != worker_token::NAME);
        steps.extend(instead);
    }
    if plan.workers().next().is_some() {
        let config = cloud_config::CloudConfig::new(plan, &seen);
        steps.push(Box::new(
            Ordered::new(config, &[]).behind(&order.chart_after()),
        ));
        steps.push(Box::new(chart::Chart));
        let running = autoscaler_running::AutoscalerRunning::new(plan);
        steps.push(Box::new(Ordered::new(running, &[]).behind(&settled)));
        steps.push(Box::new(autoscaler_resumed::AutoscalerResumed));
    }
    steps
}

/// Whether a run of `init` that succeeded has ended the rotation of join tokens that was under way: it has where it reached
/// every server, and none of a Slicer token, which it does not finish.
pub fn is_over(plan: &Plan, secrets: &Secrets) -> bool {
    let retired = &secrets.retired;
    !retired.is_empty()
        && retired.slicer.is_empty()
        && plan.servers_here().count() == plan.servers.len()
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
        // A daemon of servers reboots them: not before the agents of this host were drained, which needs them, and theirs
        // have restarted.
        let daemons = || {
            plan.daemons_of(host)
                .filter(|daemon| daemon.shares.is_none())
        };
        let workers = daemons().filter(|daemon| daemon.role == Role::Workers);
        let workers: Vec<StepId> = workers
            .map(|daemon| daemon_token::id(&daemon.group))
            .collect();
        for daemon in plan.daemons_of(host) {
            let drained = agents_drained::AgentsDrained::new(daemon, options, Cause::Token);
            if let Some(drained) = drained {
                steps.push(Box::new(Ordered::new(drained, &[host_token::id(host)])));
            }
        }
        for daemon in daemons() {
            let token = daemon_token::DaemonToken::new(plan, daemon, options, turns);
            let before: &[StepId] = match daemon.role {
                Role::ControlPlane => &workers,
                Role::Workers => &[],
            };
            steps.push(Box::new(Ordered::new(token, before)));
            answer.push(daemon_token::id(&daemon.group));
        }
    }
    (steps, answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::secret::Secret;
    use crate::steps::testing::{plan, secrets};

    fn rotated(retired: Retired) -> Vec<Box<dyn Step>> {
        rotated_by(
            retired,
            Extent {
                fresh: true,
                ..Extent::default()
            },
        )
    }

    fn rotated_by(retired: Retired, extent: Extent) -> Vec<Box<dyn Step>> {
        let options = Options {
            allow_outage: true,
            ..Options::modest("state".into(), "kubeconfig".into())
        };
        let secrets = Secrets {
            retired,
            ..secrets()
        };
        rotate(&plan(), &options, &secrets, extent)
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

    fn waits_for(steps: &[Box<dyn Step>], id: &StepId) -> Vec<StepId> {
        let step = steps.iter().find(|step| step.id() == *id).unwrap();
        [step.needs(), step.after()].concat()
    }

    /// Everything that is waited for until a step begins.
    fn all_before(steps: &[Box<dyn Step>], id: &StepId) -> BTreeSet<StepId> {
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
        for id in [k3s_started::id("k3s-cp-1"), k3s_config::id("k3s-cp-1")] {
            assert!(all_before(&steps, &id).contains(&servers_whole::id()));
        }
        assert!(steps.iter().all(|step| step.id() != server_token::id()));
    }

    /// A server that was locked out by a rotation that was cut short comes back by the rest of it.
    #[test]
    fn a_rotation_that_goes_on_waits_for_no_server() {
        let steps = rotated_by(server(), Extent::default());
        assert!(steps.iter().all(|step| step.id() != servers_whole::id()));
        let before = all_before(&steps, &k3s_config::id("k3s-cp-1"));
        assert!(before.contains(&server_token::id()));
        // One of them may be down, and none of the others can restart then.
        let before = all_before(&steps, &k3s_started::id("k3s-cp-2"));
        assert!(!before.contains(&k3s_started::id("k3s-cp-1")));
    }

    /// k3s's restart fails where its password file is newer than its data, whoever restarts it.
    #[test]
    fn no_server_takes_a_token_before_every_restart_is_safe() {
        for retired in [agent(), server()] {
            let steps = rotated(retired);
            for server in &plan().servers {
                let before = all_before(&steps, &k3s_config::id(&server.name));
                for other in &plan().servers {
                    assert!(before.contains(&k3s_password_file::id(&other.name)));
                }
            }
        }
    }

    /// Each is asked with both tokens before the next one restarts, and after the first the data are right.
    #[test]
    fn servers_take_a_token_one_after_the_other() {
        let steps = rotated(agent());
        let before = all_before(&steps, &k3s_started::id("k3s-cp-3"));
        for server in ["k3s-cp-1", "k3s-cp-2"] {
            assert!(before.contains(&old_refused::id(server)), "{server}");
        }
        assert!(before.contains(&agent_token_saved::id()));
        let first = all_before(&steps, &k3s_started::id("k3s-cp-1"));
        assert!(!first.contains(&agent_token_saved::id()));
        for server in &plan().servers {
            assert!(first.contains(&k3s_config::id(&server.name)));
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
            let started = k3s_started::id("k3s-cp-1");
            let secret = k3s_token_secret::id("k3s-agents-1");
            assert_eq!(all_before(&steps, &started).contains(&secret), ahead);
            assert_eq!(all_before(&steps, &secret).contains(&started), !ahead);
        }
    }

    /// The autoscaler is told of a token only when the daemons take it.
    #[test]
    fn a_hosts_new_host_token_is_in_use_before_anybody_is_told() {
        let steps = rotated(Retired {
            slicer: [("n100".to_owned(), Secret::new("old"))].into(),
            ..Retired::default()
        });
        let secret = waits_for(&steps, &k3s_token_secret::id("k3s-agents-2"));
        for group in ["k3s-cp", "k3s-agents-2"] {
            assert!(secret.contains(&daemon_token::id(group)));
        }
        let ids: Vec<StepId> = steps.iter().map(|step| step.id()).collect();
        assert!(!ids.contains(&daemon_token::id("k3s-agents-1")));
    }

    /// Drains go by the API of the very servers that a restart of their daemon reboots.
    #[test]
    fn the_servers_of_a_host_reboot_after_its_agents_were_drained() {
        let steps = rotated(Retired {
            slicer: [("n100".to_owned(), Secret::new("old"))].into(),
            ..Retired::default()
        });
        let before = all_before(&steps, &daemon_token::id("k3s-cp"));
        assert!(before.contains(&agents_drained::id("k3s-agents-2")));
        assert!(before.contains(&daemon_token::id("k3s-agents-2")));
    }

    /// Whatever fails: it was stopped for a drain.
    #[test]
    fn the_autoscaler_is_started_again_in_the_end() {
        let steps = rotated(Retired {
            slicer: [("n100".to_owned(), Secret::new("old"))].into(),
            ..Retired::default()
        });
        let resumed = steps
            .iter()
            .find(|step| step.id() == autoscaler_resumed::id())
            .unwrap();
        assert_eq!(resumed.needs(), []);
        assert_eq!(resumed.after(), [autoscaler_running::id()]);
    }

    /// Those that stay by their certificates are drained and removed, one group after the other.
    #[test]
    fn agents_are_replaced_once_the_old_token_is_refused() {
        let extent = Extent {
            replace_agents: true,
            fresh: true,
        };
        let steps = rotated_by(agent(), extent);
        assert!(
            steps
                .iter()
                .all(|step| step.id().name != worker_token::NAME)
        );
        let replaced = agents_replaced::id("k3s-agents-2");
        let before = all_before(&steps, &replaced);
        for id in [
            old_refused::id("k3s-cp-3"),
            k3s_token_secret::id("k3s-agents-2"),
            agents_drained::id("k3s-agents-2"),
            agents_replaced::id("k3s-agents-1"),
        ] {
            assert!(before.contains(&id), "{id}");
        }
        let running = all_before(&steps, &autoscaler_running::id());
        assert!(running.contains(&replaced));
    }
}
