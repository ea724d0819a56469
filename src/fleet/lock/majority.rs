//! Which hosts a cluster's lock lies on, and how many of them are needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Fleet;
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::remote::Machine;

/// How many servers each host carries.
pub type Weights = BTreeMap<String, usize>;

/// The hosts that the lock is to lie on, each with how many servers it carries. Before any server is planned, every host of
/// the control plane counts alike.
pub(super) fn holders<'f>(
    fleet: &'f Fleet,
    config: &Config,
    weights: &Weights,
) -> Vec<(&'f Arc<Machine>, usize)> {
    let control_plane: Vec<_> = carriers(config, weights)
        .into_iter()
        .filter_map(|name| Some((fleet.machines.get(name)?, weight(weights, name))))
        .collect();
    if !control_plane.is_empty() {
        return control_plane;
    }
    let mut hosts = config.hosts.iter();
    let any = hosts.find_map(|host| fleet.machines.get(&host.name));
    any.map(|machine| (machine, 1)).into_iter().collect()
}

pub(super) fn weight(weights: &Weights, host: &str) -> usize {
    match weights.get(host) {
        Some(weight) => *weight,
        None => usize::from(weights.is_empty()),
    }
}

/// The hosts of the control plane, in order: those of cluster.toml, and those that carry servers whatever that says by now.
pub(super) fn carriers<'c>(config: &'c Config, weights: &'c Weights) -> Vec<&'c str> {
    let mut carriers: Vec<&str> = Vec::new();
    let hosts = config.control_plane.hosts.iter();
    for host in hosts.chain(weights.keys()) {
        if !carriers.contains(&host.as_str()) {
            carriers.push(host);
        }
    }
    carriers
}

/// The least number of servers whose hosts must be held.
pub(super) fn needed(config: &Config, weights: &Weights) -> usize {
    let hosts = carriers(config, weights).into_iter();
    let all: usize = hosts.map(|name| weight(weights, name)).sum();
    all / 2 + 1
}

pub(super) fn minority(
    fleet: &Fleet,
    config: &Config,
    weights: &Weights,
    here: &[String],
) -> Failure {
    let absent = carriers(config, weights).into_iter();
    let absent: Vec<&str> = absent
        .filter(|name| !here.iter().any(|here| here == name))
        .collect();
    let why = fleet
        .absent
        .iter()
        .find(|(name, _)| absent.contains(&&**name))
        .map_or_else(String::new, |(_, failure)| format!(": {failure}"));
    Failure::new(
        Code::Locked,
        "too few hosts of the control plane can be locked from here",
    )
    .because(format!(
        "{} cannot be locked{why}; the cluster runs, and another workstation that reaches them could be at work on it",
        absent.join(", ")
    ))
    .hint("run it where hosts with most of the servers can be reached")
}
