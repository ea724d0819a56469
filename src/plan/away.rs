//! Hosts that could not be looked at: who, why, and what of them is known all the same.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::decisions::Decisions;
use super::{NatGateway, Plan};
use crate::config::Config;
use crate::facts::HostFacts;

/// A host that is off: the way to its VMs stays, so that it is found again when it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfflineHost {
    /// Its name in cluster.toml.
    pub host: String,
    /// The address by which the other hosts reach it.
    pub lan_address: Ipv4Addr,
    /// The host that is its gateway, where it is not on the LAN itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<NatGateway>,
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
pub(super) fn away(decisions: &Decisions, absent: &[(String, String)]) -> Vec<OfflineHost> {
    absent
        .iter()
        .filter_map(|(host, _)| {
            let groups = decisions.groups.values();
            Some(OfflineHost {
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

impl Plan {
    /// As it is recorded: with what the last record says of hosts that are off now. They are in the cluster all the same, and
    /// when they are back, commands go by this record before the next run does. [`Plan::with_those_back`] reads it.
    #[must_use]
    pub fn with_absent_of(&self, last: &Self) -> Self {
        let off = |host: &str| {
            let mut absent = self.absent.iter();
            absent.any(|(name, _)| name == host) && self.host(host).is_none()
        };
        let mut whole = self.clone();
        insert(
            &mut whole.hosts,
            &last.hosts,
            |host| &host.name,
            |host| off(&host.name),
        );
        insert(
            &mut whole.daemons,
            &last.daemons,
            |daemon| &daemon.group,
            |daemon| off(&daemon.host),
        );
        whole
    }

    /// A recorded plan, where of the hosts that were off then those count that are `back`. Without any it is the plan that the
    /// last run went by.
    #[must_use]
    pub fn with_those_back(mut self, back: impl Fn(&str) -> bool) -> Self {
        let carried: Vec<String> = self
            .absent
            .iter()
            .filter(|(name, _)| self.host(name).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        for name in carried {
            if back(&name) {
                self.absent.retain(|(absent, _)| *absent != name);
                self.away.retain(|away| away.host != name);
            } else {
                self.hosts.retain(|host| host.name != name);
                self.daemons.retain(|daemon| daemon.host != name);
            }
        }
        self
    }
}

/// Adds those of `last` that are wanted, each behind the one that it came after there: two plans are compared in order.
fn insert<T: Clone>(
    all: &mut Vec<T>,
    last: &[T],
    key: impl Fn(&T) -> &str,
    wanted: impl Fn(&T) -> bool,
) {
    for (at, item) in last.iter().enumerate().filter(|(_, item)| wanted(item)) {
        let mut before = last[..at].iter().rev();
        let place = before.find_map(|before| all.iter().position(|it| key(it) == key(before)));
        all.insert(place.map_or(0, |place| place + 1), item.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    /// What a run plans while one of the hosts is off.
    fn without(host: &str) -> Plan {
        let mut seen = plan();
        seen.absent = vec![(host.into(), "it is off".into())];
        seen.away = vec![OfflineHost {
            host: host.into(),
            lan_address: [192, 168, 1, 11].into(),
            behind: None,
            cidrs: Vec::new(),
        }];
        seen.hosts.retain(|it| it.name != host);
        seen.daemons.retain(|daemon| daemon.host != host);
        seen
    }

    /// A host that was off during a run was "not yet in the cluster" when it was back, and its servers had no group.
    #[test]
    fn a_host_that_was_off_stays_in_the_record() {
        for host in ["n100", "ryzen"] {
            let record = without(host).with_absent_of(&plan());
            let back = record.clone().with_those_back(|_| true);
            assert_eq!(back, plan(), "in the same order");
            assert_eq!((back.away, back.absent), (Vec::new(), Vec::new()));
            // While it is off, a run goes on without it as before, and asks nothing that it has not asked before.
            assert_eq!(record.clone().with_those_back(|_| false), without(host));
            // It is off in the next run, too.
            assert_eq!(without(host).with_absent_of(&record), record);
        }
    }

    #[test]
    fn a_host_that_was_removed_does_not_come_back() {
        let mut left = plan();
        left.hosts.retain(|host| host.name != "ryzen");
        left.daemons.retain(|daemon| daemon.host != "ryzen");
        assert_eq!(left.with_absent_of(&plan()), left);
    }
}
