//! Hosts that could not be looked at: who, why, and what of them is known all the same.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::Behind;
use super::decisions::Decisions;
use super::facts::HostFacts;
use crate::config::Config;

/// A host that is off: the way to its VMs stays, so that it is found again when it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// Its name in cluster.toml.
    pub host: String,
    /// The address by which the other hosts reach it.
    pub lan_address: Ipv4Addr,
    /// The host that is its gateway, where it is not on the LAN itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
    /// Its VMs' networks.
    pub cidrs: Vec<Ipv4Net>,
}

/// Hosts of cluster.toml without facts, with the reason.
pub(super) fn unseen(
    config: &Config,
    facts: &[HostFacts],
    absent: &[(String, String)],
) -> Vec<(String, String)> {
    config
        .hosts
        .iter()
        .filter(|host| !facts.iter().any(|facts| facts.name == host.name))
        .map(|host| {
            let why = absent
                .iter()
                .find(|(name, _)| *name == host.name)
                .map_or("not looked at", |(_, why)| why.as_str());
            (host.name.clone(), why.to_owned())
        })
        .collect()
}

/// What was decided of hosts that could not be looked at. A host that was never planned has no address yet.
pub(super) fn away(decisions: &Decisions, absent: &[(String, String)]) -> Vec<Away> {
    absent
        .iter()
        .filter_map(|(host, _)| {
            let groups = decisions.groups.values();
            Some(Away {
                host: host.clone(),
                lan_address: *decisions.lan_addresses.get(host)?,
                behind: decisions.behind.get(host).cloned(),
                cidrs: groups
                    .filter(|group| group.host == *host)
                    .map(|group| group.cidr)
                    .collect(),
            })
        })
        .collect()
}
