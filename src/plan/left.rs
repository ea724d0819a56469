//! What exists and cluster.toml no longer wants: it does not go by leaving it out, for its Nodes and VMs would be nobody's.

use std::collections::BTreeSet;

use super::{Decisions, Role};
use crate::config::Config;
use crate::failure::{Code, Failure, Failures};

/// Hosts and groups that the file lost, each with the way to be rid of it, or to keep it.
pub(super) fn behind(config: &Config, decisions: &Decisions) -> Failures {
    let mut lost = BTreeSet::new();
    let mut failures = Vec::new();
    for (name, group) in &decisions.groups {
        match (group.role, config.host(&group.host)) {
            (_, None) if !decisions.gone.contains(&group.host) => {
                lost.insert(group.host.as_str());
            }
            (Role::Workers, Some(host)) if host.workers.is_none() => {
                failures.push(no_agents(&host.name, name));
            }
            _ => {}
        }
    }
    failures.extend(lost.into_iter().map(|host| decisions.left_behind(host)));
    failures
}

/// The way here is mostly a second host: the first one's agents were there unasked.
fn no_agents(host: &str, group: &str) -> Failure {
    Failure::new(
        Code::PlanConflict,
        format!("{host} is to run no agents any more, but has group {group}"),
    )
    .because("beside other hosts a host of servers runs agents only where cluster.toml says so")
    .hint(format!(
        "say `workers = true` in [hosts.{host}] to keep them; slicer-k3s remove-host {host} --agents takes them away"
    ))
}
