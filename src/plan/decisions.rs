//! What was decided once and is kept: another run, or a host more, never moves what exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};

use super::{Adopted, Autoscaler, Daemon, Founded, NatGateway, Plan, Role, Server};

/// Every decision that later runs must repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decisions {
    /// The exact k3s version of the servers.
    pub k3s_version: Option<String>,
    /// Pods' and services' networks, which k3s cannot change later.
    pub k3s_networks: Option<(Ipv4Net, Ipv4Net)>,
    /// Whether the cluster was made without encryption of Secrets.
    #[serde(skip_serializing_if = "is_false")]
    pub plain_secrets: bool,
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
    /// The servers, the first one first.
    pub servers: Vec<Server>,
    /// Hosts' LAN addresses.
    pub lan_addresses: BTreeMap<String, Ipv4Addr>,
    /// Hosts that are behind another, with their gateway.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: BTreeMap<String, NatGateway>,
    /// Digests of images that were resolved once, by reference.
    pub image_digests: BTreeMap<String, String>,
    /// Hosts that died and were removed: what was decided of them is kept, for they may come back with their daemons.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<String>,
    /// Hosts that were removed, and of which nothing else is kept: removing one again is nothing to do.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<String>,
    /// The cluster that was founded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub founded: Option<Founded>,
    /// CA hashes of clusters of this name that were given up: a mark that names one is not obeyed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub given_up: BTreeSet<String>,
}

impl Decisions {
    /// What was decided, without a host; of one that is gone all is kept but that it is there.
    #[must_use]
    pub fn without(&self, host: &str, gone: bool) -> Self {
        let mut rest = self.clone();
        if gone {
            rest.gone.insert(host.to_owned());
        } else {
            rest.groups.retain(|_, group| group.host != host);
            rest.lan_addresses.remove(host);
            rest.behind.remove(host);
            rest.gone.remove(host);
            rest.removed.insert(host.to_owned());
        }
        rest
    }

    /// Whether a host runs a group of the cluster, as far as is decided; one that is gone for good does not.
    pub fn runs_groups(&self, host: &str) -> bool {
        let mut groups = self.groups.values();
        !self.gone.contains(host) && groups.any(|group| group.host == host)
    }

    /// Whether a host is in the cluster, or was.
    pub fn knows(&self, host: &str) -> bool {
        self.lan_addresses.contains_key(host)
            || self.gone.contains(host)
            || self.removed.contains(host)
            || self.groups.values().any(|group| group.host == host)
    }

    /// What was decided, without the agents of a host.
    #[must_use]
    pub fn without_agents(&self, host: &str) -> Self {
        let mut rest = self.clone();
        rest.groups
            .retain(|_, group| group.host != host || group.role == Role::ControlPlane);
        rest
    }

    /// Tells whether two workstations know the same hosts, groups and servers. What each can see for itself (addresses,
    /// digests) does not count, and neither does what one remembers of hosts that are gone.
    pub fn fingerprint(&self) -> String {
        let groups = self.groups.iter();
        let groups = groups.filter(|(_, group)| !self.gone.contains(&group.host));
        let groups = groups.map(|(name, group)| {
            let Group {
                host,
                cidr,
                api_port,
                ..
            } = group;
            format!("group {name} {host} {cidr} {api_port}\n")
        });
        let servers: BTreeSet<_> = self.servers.iter().map(|server| &server.name).collect();
        let servers = servers.iter().map(|name| format!("server {name}\n"));
        let text: String = groups.chain(servers).collect();
        crate::secret::sha256(text.as_bytes())
    }

    /// Whether this is the fingerprint that a run noted, perhaps one of a release that wrote it otherwise.
    pub fn has_fingerprint(&self, noted: &str) -> bool {
        self.fingerprint() == noted || self.former_fingerprint() == noted
    }

    /// As releases before wrote it: by `Debug`, which another version of a library may write otherwise.
    fn former_fingerprint(&self) -> String {
        let groups: BTreeMap<_, _> = self
            .groups
            .iter()
            .filter(|(_, group)| !self.gone.contains(&group.host))
            .map(|(name, group)| (name, (&group.host, group.cidr, group.api_port)))
            .collect();
        let servers: BTreeSet<_> = self.servers.iter().map(|server| &server.name).collect();
        crate::secret::sha256(format!("{groups:?} {servers:?}").as_bytes())
    }

    /// A host that cluster.toml lost while it still runs a group.
    pub fn left_behind(&self, host: &str) -> Failure {
        let groups = self.groups.iter().filter(|(_, group)| group.host == host);
        let groups: Vec<&str> = groups.map(|(name, _)| name.as_str()).collect();
        Failure::new(
            Code::PlanConflict,
            format!("{host} is no longer in cluster.toml, but was not removed"),
        )
        .because(format!(
            "it runs {}, with Nodes in the cluster",
            groups.join(", ")
        ))
        .hint(format!(
            "put [hosts.{host}] back, then slicer-k3s remove-host {host}, with --gone where it is dead"
        ))
    }
}

/// What was decided of one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The host its daemon runs on.
    pub host: String,
    /// What it is for.
    pub role: Role,
    /// The VMs' network.
    pub cidr: Ipv4Net,
    /// The API's port.
    pub api_port: u16,
    /// Prefix of tap names.
    pub tap_prefix: String,
    /// The VMs' image.
    pub image: String,
    /// The group whose daemon serves this one, where that is not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// What a person decided about its daemon, where one set it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl From<&Daemon> for Group {
    fn from(daemon: &Daemon) -> Self {
        Self {
            host: daemon.host.clone(),
            role: daemon.role,
            cidr: daemon.cidr,
            api_port: daemon.api_port,
            tap_prefix: daemon.tap_prefix.clone(),
            image: daemon.image.clone(),
            shares: daemon.shares.clone(),
            adopted: daemon.adopted.clone(),
        }
    }
}

impl Plan {
    /// What must be remembered of this plan; what is remembered of hosts that were off stays.
    #[must_use]
    pub fn decisions(&self, before: &Decisions) -> Decisions {
        let mut decisions = before.clone();
        decisions.k3s_version = Some(self.k3s.version.clone());
        decisions.k3s_networks = Some((self.k3s.cluster_cidr, self.k3s.service_cidr));
        decisions.plain_secrets = self.k3s.plain_secrets;
        decisions.servers.clone_from(&self.servers);
        if let Some(digest) = &self.autoscaler.digest {
            let image = Autoscaler::reference(&self.autoscaler.image, &self.autoscaler.tag);
            decisions.image_digests.insert(image, digest.clone());
        }
        for daemon in &self.daemons {
            decisions
                .groups
                .insert(daemon.group.clone(), Group::from(daemon));
        }
        for host in &self.hosts {
            decisions.gone.remove(&host.name);
            decisions.removed.remove(&host.name);
            decisions
                .lan_addresses
                .insert(host.name.clone(), host.lan_address);
            match &host.behind {
                Some(behind) => decisions.behind.insert(host.name.clone(), behind.clone()),
                None => decisions.behind.remove(&host.name),
            };
        }
        decisions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    /// By `Debug` a newer library made of every known cluster one that was "changed from elsewhere".
    #[test]
    fn a_fingerprint_is_the_hash_of_a_written_text_and_the_former_one_is_known() {
        let all = plan().decisions(&Decisions::default());
        let text = "group k3s-agents-1 ryzen 192.168.138.0/24 8081\n\
                    group k3s-agents-2 n100 192.168.139.0/24 8082\n\
                    group k3s-cp n100 192.168.137.0/24 8080\n\
                    server k3s-cp-1\nserver k3s-cp-2\nserver k3s-cp-3\n";
        assert_eq!(all.fingerprint(), crate::secret::sha256(text.as_bytes()));
        assert!(all.has_fingerprint(&all.fingerprint()));
        assert!(all.has_fingerprint(&all.former_fingerprint()));
        let less = all.without("ryzen", false);
        assert!(!all.has_fingerprint(&less.fingerprint()));
        assert!(!all.has_fingerprint(&less.former_fingerprint()));
    }

    #[test]
    fn what_left_is_free_and_what_is_gone_may_come_back() {
        let plan = plan();
        let all = plan.decisions(&Decisions::default());
        let left = all.without("ryzen", false);
        assert!(!left.groups.contains_key("k3s-agents-1") && left.groups.len() == 2);
        assert!(!left.lan_addresses.contains_key("ryzen"));
        let gone = all.without("ryzen", true);
        assert_eq!((&gone.groups, gone.gone.len()), (&all.groups, 1));
        assert_eq!(plan.decisions(&gone), all);
        // Whoever rebuilds the state from the hosts knows nothing of one that is gone.
        assert_eq!(gone.fingerprint(), left.fingerprint());
        assert_ne!(gone.fingerprint(), all.fingerprint());
        let agents = all.without_agents("n100");
        assert_eq!(agents.groups.len(), 2);
        assert!(agents.groups.contains_key("k3s-cp"));
    }
}
