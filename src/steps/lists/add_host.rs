//! `slicer-k3s add-host`: those steps of `init` that touch the new hosts, or by which others learn of them.

use super::init::all;
use crate::plan::Plan;
use crate::step_id::{StepId, StepName};
use crate::steps::{AnyStep, Options};

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
pub(crate) fn told(plan: &Plan, options: &Options) -> Vec<AnyStep> {
    let ids = autoscaler_learns(plan);
    let mut steps = all(plan, options);
    steps.retain(|step| ids.contains(&step.id()));
    steps
}

/// The steps of those who must learn of a host more: routes everywhere, and the autoscaler.
fn learns(plan: &Plan) -> Vec<StepId> {
    let routes = plan
        .hosts
        .iter()
        .map(|host| StepName::Routes.on(&host.name));
    routes.chain(autoscaler_learns(plan)).collect()
}

fn autoscaler_learns(plan: &Plan) -> Vec<StepId> {
    let groups = plan.workers().flat_map(|daemon| {
        [
            StepName::K3sTokenSecret.on(&daemon.group),
            StepName::GroupReachable.on(&daemon.group),
        ]
    });
    let autoscaler = [
        // A cluster without workers has not needed it.
        StepName::AddonsOnServers.on_cluster(),
        StepName::CloudConfig.on_cluster(),
        StepName::Chart.on_cluster(),
        StepName::AutoscalerRunning.on_cluster(),
    ];
    groups.chain(autoscaler).collect()
}
