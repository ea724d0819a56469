//! `slicer-k3s init`: everything from bare hosts to a proven autoscaler.

use std::sync::Arc;

use crate::control_plane::{ControlPlane, Start};
use crate::plan::{Daemon, Host, Plan, Role, Server};
use crate::state::Secrets;
use crate::step_id::{StepId, StepName};
use crate::steps::autoscaler::addons_on_servers::AddonsOnServers;
use crate::steps::autoscaler::chart::Chart;
use crate::steps::autoscaler::cloud_config::CloudConfig;
use crate::steps::autoscaler::resumed::AutoscalerResumed;
use crate::steps::autoscaler::running::AutoscalerRunning;
use crate::steps::daemon::answers::DaemonAnswers;
use crate::steps::daemon::config::DaemonConfig;
use crate::steps::daemon::current::DaemonCurrent;
use crate::steps::daemon::running::DaemonRunning;
use crate::steps::group::agents_drained::AgentsDrained;
use crate::steps::group::agents_settled::AgentsSettled;
use crate::steps::group::k3s_token_secret::K3sTokenSecret;
use crate::steps::group::reachable::GroupReachable;
use crate::steps::host::forwarding::Forwarding;
use crate::steps::host::mark::HostMark;
use crate::steps::host::own_addresses::OwnAddresses;
use crate::steps::host::routes::Routes;
use crate::steps::host::slicer_installed::SlicerInstalled;
use crate::steps::host::workstation_route::WorkstationRoute;
use crate::steps::restart::RestartReason;
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::rotation::Order;
use crate::steps::server::api_ready::ApiReady;
use crate::steps::server::cluster_recorded::ClusterRecorded;
use crate::steps::server::data_set_aside::DataSetAside;
use crate::steps::server::etcd_voter::EtcdVoter;
use crate::steps::server::join_address::JoinAddress;
use crate::steps::server::k3s_config::K3sConfig;
use crate::steps::server::k3s_installed::{K3sInstalled, OneScript};
use crate::steps::server::k3s_password_file::K3sPasswordFile;
use crate::steps::server::k3s_started::K3sStarted;
use crate::steps::server::key::ServerKey;
use crate::steps::server::kubeconfig_saved::KubeconfigSaved;
use crate::steps::server::node_ready::NodeReady;
use crate::steps::server::old_node_removed::OldNodeRemoved;
use crate::steps::server::taint::ServerTaint;
use crate::steps::server::vm_path::VmPath;
use crate::steps::server::vm_reachable::VmReachable;
use crate::steps::server::vm_up::{self, VmUp};
use crate::steps::support::ordered::Ordered;
use crate::steps::support::run_context::RunContext;
use crate::steps::{AnyStep, Options, proof};

/// Everything from bare hosts to a proven autoscaler; join tokens whose rotation `secrets` record as under way are taken into
/// use on the way.
pub fn init(
    plan: &Plan,
    options: &Options,
    control_plane: &ControlPlane,
    secrets: &Secrets,
) -> Vec<AnyStep> {
    let order = Order::new(plan, secrets, options);
    ordered(plan, options, control_plane, &order)
}

/// What the steps of one run share.
struct Shared<'a> {
    plan: &'a Plan,
    options: &'a Options,
    control_plane: &'a ControlPlane,
    order: &'a Order,
    seen: Arc<RunContext>,
    turns: RollingRestart,
}

fn ordered(
    plan: &Plan,
    options: &Options,
    control_plane: &ControlPlane,
    order: &Order,
) -> Vec<AnyStep> {
    let shared = Shared {
        plan,
        options,
        control_plane,
        order,
        seen: Arc::default(),
        turns: order.turns(options),
    };
    let mut steps: Vec<AnyStep> = Vec::new();
    for host in &plan.hosts {
        steps.extend(shared.host(host));
    }
    for daemon in &plan.daemons {
        steps.extend(shared.daemon(daemon));
    }
    let script = Arc::default();
    for server in plan.servers_here() {
        steps.extend(shared.server(server, &script));
    }
    steps.extend(order.steps(plan));
    steps.extend(shared.cluster());
    for daemon in plan.workers() {
        steps.extend(shared.group(daemon));
    }
    steps.extend(shared.workstation());
    if plan.workers().next().is_some() {
        steps.extend(shared.autoscaler());
        steps.extend(shared.proofs());
    }
    steps
}

impl Shared<'_> {
    fn host(&self, host: &Host) -> Vec<AnyStep> {
        let mut steps: Vec<AnyStep> = vec![
            Box::new(SlicerInstalled::new(host, self.options)),
            Box::new(HostMark::new(host)),
            Box::new(Forwarding::new(host)),
            Box::new(Routes::new(host)),
        ];
        steps.extend(OwnAddresses::new(self.plan, host).map(|step| Box::new(step) as AnyStep));
        steps
    }

    fn daemon(&self, daemon: &Daemon) -> Vec<AnyStep> {
        let (plan, options) = (self.plan, self.options);
        let mut steps: Vec<AnyStep> = Vec::new();
        if daemon.shares.is_none() {
            steps.push(Box::new(DaemonConfig::new(daemon)));
            steps.push(Box::new(DaemonRunning::new(daemon)));
            steps.push(Box::new(DaemonCurrent::new(
                plan,
                daemon,
                options,
                &self.turns,
            )));
        }
        if let Some(step) = AgentsDrained::new(daemon, options, RestartReason::Configuration) {
            steps.push(Box::new(step));
        }
        steps.push(Box::new(DaemonAnswers::new(daemon)));
        steps
    }

    /// From a VM to a server that votes.
    fn server(&self, server: &Server, script: &Arc<OneScript>) -> Vec<AnyStep> {
        let (plan, options, order) = (self.plan, self.options, self.order);
        let (turns, control_plane) = (&self.turns, self.control_plane);
        let mut steps: Vec<AnyStep> = vec![
            Box::new(VmUp::new(plan, server, options, turns, control_plane)),
            Box::new(ServerKey::new(server)),
            Box::new(VmReachable::new(server, &self.seen)),
        ];
        if let Some(path) = VmPath::new(plan, server) {
            steps.push(Box::new(path));
        }
        if let Some(aside) = DataSetAside::new(server, control_plane) {
            steps.push(Box::new(aside));
        }
        steps.push(Box::new(K3sPasswordFile::new(server)));
        let config = K3sConfig::new(plan, server, control_plane);
        steps.push(Box::new(Ordered::new(config, &order.config_needs())));
        if let Some(old) = OldNodeRemoved::new(plan, server, control_plane) {
            steps.push(Box::new(old));
        }
        steps.push(Box::new(K3sInstalled::new(server, script, control_plane)));
        let may_stop = options.allow_outage || order.may_restart();
        let started = K3sStarted::new(plan, server, may_stop, turns, control_plane);
        let started = Ordered::new(started, &order.start_needs(server));
        steps.push(Box::new(started.behind(&order.start_after())));
        steps.push(Box::new(NodeReady::new(server)));
        steps.push(Box::new(ServerTaint::new(server)));
        steps.push(Box::new(EtcdVoter::new(server)));
        if let Some(address) = JoinAddress::new(plan, server, control_plane) {
            steps.push(Box::new(address));
        }
        steps
    }

    fn cluster(&self) -> Vec<AnyStep> {
        let mut steps: Vec<AnyStep> = Vec::new();
        if let Some(ready) = ApiReady::new(self.plan) {
            steps.push(Box::new(ready));
        }
        if let Some(recorded) = ClusterRecorded::new(self.plan, self.options) {
            steps.push(Box::new(recorded));
        }
        steps.push(Box::new(KubeconfigSaved::new(self.plan, self.options)));
        if self.plan.workers().next().is_some() {
            steps.push(Box::new(AddonsOnServers::new(self.plan)));
        }
        steps
    }

    fn group(&self, daemon: &Daemon) -> Vec<AnyStep> {
        let (plan, seen) = (self.plan, &self.seen);
        let ahead = self.order.secrets_first();
        vec![
            Box::new(K3sTokenSecret::new(plan, daemon, seen, ahead)),
            Box::new(GroupReachable::new(plan, daemon, seen)),
            Box::new(AgentsSettled::new(plan, daemon, self.options)),
        ]
    }

    fn workstation(&self) -> Vec<AnyStep> {
        let daemons = self.plan.daemons.iter();
        daemons
            .filter(|daemon| self.options.workstation_route && daemon.role == Role::ControlPlane)
            .filter_map(|daemon| WorkstationRoute::new(self.plan, daemon))
            .map(|step| Box::new(step) as AnyStep)
            .collect()
    }

    fn autoscaler(&self) -> Vec<AnyStep> {
        let config = CloudConfig::new(self.plan, &self.seen);
        let drains = vm_up::drains(self.plan, self.options, self.control_plane);
        let config = Ordered::new(config, &[]).behind(&self.order.chart_after());
        let mut steps: Vec<AnyStep> = vec![
            Box::new(config.behind(&drains)),
            Box::new(Chart),
            Box::new(AutoscalerRunning::new(self.plan)),
        ];
        if self.options.allow_outage {
            steps.push(Box::new(AutoscalerResumed));
        }
        steps
    }

    fn proofs(&self) -> Vec<AnyStep> {
        let (plan, options) = (self.plan, self.options);
        let members = plan
            .servers_here()
            .filter(|server| matches!(self.control_plane.start(&server.name), Start::Member));
        let restarts: Vec<StepId> = members
            .map(|server| StepName::EtcdVoter.on(&server.name))
            .collect();
        let (proof, local_data) = (options.proof, options.delete_local_data);
        plan.workers()
            .flat_map(|daemon| proof::steps(plan, daemon, proof, &restarts, local_data))
            .collect()
    }
}

/// The steps of [`init`] for a command that starts no server.
pub(crate) fn all(plan: &Plan, options: &Options) -> Vec<AnyStep> {
    let order = Order::default();
    ordered(plan, options, &ControlPlane::unquestioned(plan), &order)
}

/// Those of `init`'s steps that have one of these names.
pub fn only(plan: &Plan, options: &Options, names: &[StepName]) -> Vec<AnyStep> {
    let mut steps = all(plan, options);
    steps.retain(|step| names.contains(&step.id().name));
    steps
}
