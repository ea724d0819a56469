//! The facts that make a cluster, one a file, and the list of them that a person can read.

mod addons_on_servers;
mod agents_drained;
mod agents_settled;
mod api_ready;
mod autoscaler_resumed;
mod autoscaler_running;
mod autoscaler_words;
mod chart;
mod chart_state;
mod cloud_config;
mod cluster_recorded;
mod console;
mod daemon_answers;
mod daemon_config;
mod daemon_current;
mod daemon_running;
mod data_set_aside;
mod difference;
mod drop_ins;
mod enrolled_away;
mod etcd_voter;
mod file;
mod forwarding;
mod group_nodes;
mod group_reachable;
mod has_read;
mod host_mark;
mod join_address;
mod k3s_config;
mod k3s_installed;
mod k3s_password_file;
mod k3s_started;
mod k3s_token_secret;
mod k3s_troubles;
mod kubeconfig_saved;
pub mod local_data;
mod node;
mod node_ready;
mod old_node_removed;
mod ordered;
mod orphans;
mod other_marks;
pub mod outages;
mod own_addresses;
mod proof;
mod quorum;
mod reach;
mod recount;
mod refusals;
pub mod removal;
mod restart;
pub mod rotation;
mod routes;
mod seen;
mod server_key;
mod server_taint;
mod slicer_installed;
mod unit;
mod vm_path;
mod vm_reachable;
mod vm_up;
mod way;
mod workstation_route;

use std::path::PathBuf;
use std::sync::Arc;

use crate::control_plane::{ControlPlane, Start};
use crate::pipeline::{Step, StepId};
use crate::plan::{Plan, Role};
use crate::state::Secrets;
use crate::world::World;
use ordered::Ordered;

pub use cloud_config::groups as scaled_groups;
pub use refusals::{licence_refusals, slicer_overwrites, slicer_refusals};

/// A step over connected machines.
pub type AnyStep = Box<dyn Step<World>>;

/// The subject of steps about the cluster as a whole.
const CLUSTER: &str = "cluster";

/// What the person allowed and asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the person's own"
)]
pub struct Options {
    /// Install Slicer where it is missing.
    pub install_slicer: bool,
    /// The person accepted Slicer's licence.
    pub accept_slicer_licence: bool,
    /// Restarts that cost workers, reboot servers, stop the only server or lose etcd's quorum are allowed.
    pub allow_outage: bool,
    /// Servers that did not vote when that was allowed: no restart is refused for want of them.
    pub silent: Vec<String>,
    /// Data on the disks of VMs that end may go.
    pub delete_local_data: bool,
    /// This workstation gets a route to the control plane.
    pub workstation_route: bool,
    /// The cluster's state directory on the workstation.
    pub state: PathBuf,
    /// Where the cluster's kubeconfig is kept on the workstation.
    pub kubeconfig: PathBuf,
    /// The proof of scaling, unless skipped.
    pub proof: Option<Proof>,
}

impl Options {
    /// Those of a command that is asked for nothing that costs anything.
    pub fn modest(state: PathBuf, kubeconfig: PathBuf) -> Self {
        Self {
            state,
            install_slicer: false,
            accept_slicer_licence: false,
            allow_outage: false,
            silent: Vec::new(),
            delete_local_data: false,
            workstation_route: false,
            kubeconfig,
            proof: None,
        }
    }
}

/// How to prove scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Pods to start in each group.
    pub pods: u32,
    /// Prove again what was proven before.
    pub again: bool,
}

/// Everything from bare hosts to a proven autoscaler; join tokens whose rotation `secrets` record as under way are taken into
/// use on the way.
pub fn init(
    plan: &Plan,
    options: &Options,
    control_plane: &ControlPlane,
    secrets: &Secrets,
) -> Vec<AnyStep> {
    let order = rotation::Order::new(plan, secrets, options);
    ordered(plan, options, control_plane, &order)
}

fn ordered(
    plan: &Plan,
    options: &Options,
    control_plane: &ControlPlane,
    order: &rotation::Order,
) -> Vec<AnyStep> {
    let seen = Arc::new(seen::Seen::default());
    let turns = order.turns(options);
    let mut steps: Vec<AnyStep> = Vec::new();
    for host in &plan.hosts {
        steps.push(Box::new(slicer_installed::SlicerInstalled::new(
            host, options,
        )));
        steps.push(Box::new(host_mark::HostMark::new(host)));
        steps.push(Box::new(forwarding::Forwarding::new(host)));
        steps.push(Box::new(routes::Routes::new(host)));
        if let Some(addresses) = own_addresses::OwnAddresses::new(plan, host) {
            steps.push(Box::new(addresses));
        }
    }
    for daemon in &plan.daemons {
        if daemon.shares.is_none() {
            steps.push(Box::new(daemon_config::DaemonConfig::new(daemon)));
            steps.push(Box::new(daemon_running::DaemonRunning::new(daemon)));
            steps.push(Box::new(daemon_current::DaemonCurrent::new(
                plan, daemon, options, &turns,
            )));
        }
        let cause = restart::Cause::Configuration;
        if let Some(step) = agents_drained::AgentsDrained::new(daemon, options, cause) {
            steps.push(Box::new(step));
        }
        steps.push(Box::new(daemon_answers::DaemonAnswers::new(daemon)));
    }
    steps.extend(servers(plan, options, control_plane, &seen, &turns, order));
    steps.extend(order.steps(plan));
    if let Some(ready) = api_ready::ApiReady::new(plan) {
        steps.push(Box::new(ready));
    }
    if let Some(recorded) = cluster_recorded::ClusterRecorded::new(plan, options) {
        steps.push(Box::new(recorded));
    }
    steps.push(Box::new(kubeconfig_saved::KubeconfigSaved::new(
        plan, options,
    )));
    if plan.workers().next().is_some() {
        steps.push(Box::new(addons_on_servers::AddonsOnServers::new(plan)));
    }
    for daemon in plan.workers() {
        steps.push(Box::new(k3s_token_secret::K3sTokenSecret::new(
            plan,
            daemon,
            &seen,
            order.secrets_first(),
        )));
        steps.push(Box::new(group_reachable::GroupReachable::new(
            plan, daemon, &seen,
        )));
        steps.push(Box::new(agents_settled::AgentsSettled::new(
            plan, daemon, options,
        )));
    }
    if options.workstation_route {
        for daemon in plan
            .daemons
            .iter()
            .filter(|daemon| daemon.role == Role::ControlPlane)
        {
            if let Some(route) = workstation_route::WorkstationRoute::new(plan, daemon) {
                steps.push(Box::new(route));
            }
        }
    }
    if plan.workers().next().is_some() {
        let config = cloud_config::CloudConfig::new(plan, &seen);
        steps.push(Box::new(
            Ordered::new(config, &[])
                .behind(&order.chart_after())
                .behind(&vm_up::drains(plan, options, control_plane)),
        ));
        steps.push(Box::new(chart::Chart));
        steps.push(Box::new(autoscaler_running::AutoscalerRunning::new(plan)));
        if options.allow_outage {
            steps.push(Box::new(autoscaler_resumed::AutoscalerResumed));
        }
        let members = plan
            .servers_here()
            .filter(|server| matches!(control_plane.start(&server.name), Start::Member));
        let restarts: Vec<StepId> = members.map(|server| etcd_voter::id(&server.name)).collect();
        for daemon in plan.workers() {
            let (proof, local_data) = (options.proof, options.delete_local_data);
            steps.extend(proof::steps(plan, daemon, proof, &restarts, local_data));
        }
    }
    steps
}

/// From a VM to a server that votes.
fn servers(
    plan: &Plan,
    options: &Options,
    control_plane: &ControlPlane,
    seen: &Arc<seen::Seen>,
    turns: &quorum::Turns,
    order: &rotation::Order,
) -> Vec<AnyStep> {
    let mut steps: Vec<AnyStep> = Vec::new();
    let script = Arc::new(k3s_installed::OneScript::default());
    for server in plan.servers_here() {
        steps.push(Box::new(vm_up::VmUp::new(
            plan,
            server,
            options,
            turns,
            control_plane,
        )));
        steps.push(Box::new(server_key::ServerKey::new(server)));
        steps.push(Box::new(vm_reachable::VmReachable::new(server, seen)));
        if let Some(path) = vm_path::VmPath::new(plan, server) {
            steps.push(Box::new(path));
        }
        if let Some(aside) = data_set_aside::DataSetAside::new(server, control_plane) {
            steps.push(Box::new(aside));
        }
        steps.push(Box::new(k3s_password_file::K3sPasswordFile::new(server)));
        let config = k3s_config::K3sConfig::new(plan, server, control_plane);
        steps.push(Box::new(Ordered::new(config, &order.config_needs())));
        if let Some(old) = old_node_removed::OldNodeRemoved::new(plan, server, control_plane) {
            steps.push(Box::new(old));
        }
        steps.push(Box::new(k3s_installed::K3sInstalled::new(
            server,
            &script,
            control_plane,
        )));
        let may_stop = options.allow_outage || order.may_restart();
        let started = k3s_started::K3sStarted::new(plan, server, may_stop, turns, control_plane);
        let started = Ordered::new(started, &order.start_needs(server));
        steps.push(Box::new(started.behind(&order.start_after())));
        steps.push(Box::new(node_ready::NodeReady::new(server)));
        steps.push(Box::new(server_taint::ServerTaint::new(server)));
        steps.push(Box::new(etcd_voter::EtcdVoter::new(server)));
        if let Some(address) = join_address::JoinAddress::new(plan, server, control_plane) {
            steps.push(Box::new(address));
        }
    }
    steps
}

/// The steps of [`init`] for a command that starts no server.
fn all(plan: &Plan, options: &Options) -> Vec<AnyStep> {
    let order = rotation::Order::default();
    ordered(plan, options, &ControlPlane::unquestioned(plan), &order)
}

/// Those of `init`'s steps that have one of these names.
pub fn only(plan: &Plan, options: &Options, names: &[&str]) -> Vec<AnyStep> {
    let mut steps = all(plan, options);
    steps.retain(|step| names.contains(&step.id().name));
    steps
}

/// What hosts more take: those steps of [`init`] that touch them or must learn of them. Nobody else's are even looked at.
pub fn add_hosts(plan: &Plan, options: &Options, hosts: &[String]) -> Vec<AnyStep> {
    let new = |host: &str| hosts.iter().any(|name| name == host);
    let learns = learns(plan);
    let mut steps = all(plan, options);
    steps.retain(|step| {
        let id = step.id();
        let group = plan.daemon(&id.subject);
        new(&id.subject) || group.is_some_and(|daemon| new(&daemon.host)) || learns.contains(&id)
    });
    steps
}

/// The steps of [`init`] by which the autoscaler is told of the groups that are seen to be fit.
fn told(plan: &Plan, options: &Options) -> Vec<AnyStep> {
    let ids = autoscaler_learns(plan);
    let mut steps = all(plan, options);
    steps.retain(|step| ids.contains(&step.id()));
    steps
}

/// The steps of those who must learn of a host more: routes everywhere, and the autoscaler.
fn learns(plan: &Plan) -> Vec<StepId> {
    let routes = plan.hosts.iter().map(|host| routes::id(&host.name));
    routes.chain(autoscaler_learns(plan)).collect()
}

fn autoscaler_learns(plan: &Plan) -> Vec<StepId> {
    let groups = plan.workers().flat_map(|daemon| {
        [
            k3s_token_secret::id(&daemon.group),
            group_reachable::id(&daemon.group),
        ]
    });
    let autoscaler = [
        // A cluster without workers has not needed it.
        addons_on_servers::id(),
        cloud_config::id(),
        chart::id(),
        autoscaler_running::id(),
    ];
    groups.chain(autoscaler).collect()
}

/// The routes alone.
pub fn routes(plan: &Plan) -> Vec<AnyStep> {
    let hosts = plan.hosts.iter();
    hosts
        .map(|host| Box::new(routes::Routes::new(host)) as AnyStep)
        .collect()
}

/// The proof of scaling alone, of the named groups or of all; `local_data`: data on VMs that are deleted may go with them.
pub fn prove(plan: &Plan, groups: &[String], proof: Proof, local_data: bool) -> Vec<AnyStep> {
    plan.workers()
        .filter(|daemon| groups.is_empty() || groups.contains(&daemon.group))
        .flat_map(|daemon| proof::steps(plan, daemon, Some(proof), &[], local_data))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
