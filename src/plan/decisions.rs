//! What was decided once and is kept: another run, or a host more, never moves what exists.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{Autoscaler, Plan, Role, Server};

/// Every decision that later runs must repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decisions {
    /// The exact k3s version of the servers.
    pub k3s_version: Option<String>,
    /// Pods' and services' networks, which k3s cannot change later.
    pub k3s_networks: Option<(Ipv4Net, Ipv4Net)>,
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
    /// The servers, the first one first.
    pub servers: Vec<Server>,
    /// Hosts' LAN addresses.
    pub lan_addresses: BTreeMap<String, Ipv4Addr>,
    /// Digests of images that were resolved once, by reference.
    pub image_digests: BTreeMap<String, String>,
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
}

impl Plan {
    /// What must be remembered of this plan; what is remembered of hosts that were off stays.
    #[must_use]
    pub fn decisions(&self, before: &Decisions) -> Decisions {
        let mut decisions = before.clone();
        decisions.k3s_version = Some(self.k3s.version.clone());
        decisions.k3s_networks = Some((self.k3s.cluster_cidr, self.k3s.service_cidr));
        decisions.servers.clone_from(&self.servers);
        if let Some(digest) = &self.autoscaler.digest {
            let image = Autoscaler::reference(&self.autoscaler.image, &self.autoscaler.tag);
            decisions.image_digests.insert(image, digest.clone());
        }
        for daemon in &self.daemons {
            decisions.groups.insert(
                daemon.group.clone(),
                Group {
                    host: daemon.host.clone(),
                    role: daemon.role,
                    cidr: daemon.cidr,
                    api_port: daemon.api_port,
                    tap_prefix: daemon.tap_prefix.clone(),
                    image: daemon.image.clone(),
                },
            );
        }
        for host in &self.hosts {
            decisions
                .lan_addresses
                .insert(host.name.clone(), host.lan_address);
        }
        decisions
    }
}
