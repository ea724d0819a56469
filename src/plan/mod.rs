//! Every decision made: names, CIDRs, ports, versions. Pure: (config, state, facts) → plan.

mod adopted;
mod assumed;
mod away;
mod behind;
mod capacity;
mod clashes;
mod decide;
mod decisions;
mod fit;
mod founded;
mod groups;
mod k3s;
mod lan;
mod left;
mod mark;
mod pool;
#[cfg(test)]
pub(crate) mod tests;

use std::net::Ipv4Addr;

use crate::facts::Arch;
use crate::names::ours::ROOT;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

pub use adopted::{Adopted, unit_of};
pub use assumed::assumed;
pub use away::OfflineHost;
pub use behind::NatGateway;
pub use capacity::default_max;
pub use decide::decide;
pub use decisions::{Decisions, Group};
pub use founded::Founded;
pub use k3s::{PRIVATE as NO_PROXY, other_version};
pub use mark::Mark;

/// What a daemon's group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Its VMs are the k3s servers.
    ControlPlane,
    /// Its VMs are agents that the autoscaler makes and removes.
    Workers,
}

/// One Slicer daemon with its one host group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Host group name, unique across the cluster; at most 12 characters so that the bridge `br<group>0` fits 15.
    pub group: String,
    /// The host it runs on.
    pub host: String,
    /// What it is for.
    pub role: Role,
    /// The VMs' network.
    pub cidr: Ipv4Net,
    /// Address the API is bound to.
    pub api_bind: Ipv4Addr,
    /// Port of the API.
    pub api_port: u16,
    /// Prefix of tap names, unique on its host.
    pub tap_prefix: String,
    /// VMs that start with the daemon: the servers, or 0.
    pub count: u32,
    /// vCPUs of a VM.
    pub cpu: u32,
    /// RAM of a VM, GiB.
    pub ram_gb: u32,
    /// Disk of a VM, GB.
    pub storage_gb: u32,
    /// Image reference, by the host's arch.
    pub image: String,
    /// Fewest agents (workers only).
    pub min: u32,
    /// Most agents (workers only).
    pub max: u32,
    /// Which group grows first, with the expander `priority` (workers only).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// The group whose daemon serves this one, where that is not its own: its host's servers' (workers only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// What a person decided about it, where one set it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
}

impl Daemon {
    /// The bridge's address: the first of the CIDR.
    pub fn gateway(&self) -> Ipv4Addr {
        self.cidr.hosts().next().unwrap_or(self.cidr.addr())
    }

    /// The bridge's name.
    pub fn bridge(&self) -> String {
        format!("br{}0", self.group)
    }

    /// The group that the process is called after: its own, unless another's daemon serves it.
    pub fn carrier(&self) -> &str {
        self.shares.as_deref().unwrap_or(&self.group)
    }

    /// The daemon's systemd unit.
    pub fn unit(&self) -> String {
        unit_of(self.carrier(), self.adopted.as_ref())
    }

    /// The command that shows the daemon's last words.
    pub fn look_at_journal(&self) -> String {
        format!("on {}: sudo journalctl -u {} -n 30", self.host, self.unit())
    }

    /// Where an API client on the host itself connects to.
    pub fn local_api(&self) -> (Ipv4Addr, u16) {
        let bind = self.api_bind;
        (
            if bind.is_unspecified() {
                Ipv4Addr::LOCALHOST
            } else {
                bind
            },
            self.api_port,
        )
    }

    /// The URL that the autoscaler uses: the bridge's address, which never changes with the LAN.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.gateway(), self.api_port)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One k3s server: a VM of a control-plane group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The VM's and so the Node's name: `<group>-<n>`.
    pub name: String,
    /// Its group.
    pub group: String,
    /// The host its daemon runs on.
    pub host: String,
    /// Its address in the group's CIDR.
    pub address: Ipv4Addr,
}

/// A machine running Slicer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name in cluster.toml.
    pub name: String,
    /// The address by which the other hosts reach it.
    pub lan_address: Ipv4Addr,
    /// The host that is its gateway, where it is not on the LAN itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<NatGateway>,
    /// Its processor architecture.
    pub arch: Arch,
    /// The Slicer licence file, absolute, as seen on the host.
    pub licence_file: Option<String>,
    /// Whether Slicer was found installed.
    pub slicer_installed: bool,
}

/// What every server is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct K3s {
    /// The exact version, such as `v1.34.4+k3s1`.
    pub version: String,
    /// Pods' network.
    pub cluster_cidr: Ipv4Net,
    /// Services' network.
    pub service_cidr: Ipv4Net,
    /// Packaged components to leave out.
    pub disable: Vec<String>,
    /// More names and addresses for the API's certificate.
    pub tls_san: Vec<String>,
    /// Whether servers refuse ordinary pods.
    pub taint: bool,
    /// Whether the components that k3s packages run on servers only.
    #[serde(default)]
    pub addons_on_servers: bool,
    /// Whether Secrets lie unencrypted in etcd: only where the cluster was made so, for it cannot be decided later.
    #[serde(default)]
    pub plain_secrets: bool,
    /// registries.yaml; none where it is empty.
    #[serde(default)]
    pub registries: serde_json::Map<String, serde_json::Value>,
    /// Variables of its environment: proxies.
    #[serde(default)]
    pub environment: std::collections::BTreeMap<String, String>,
    /// More keys of k3s's config.yaml.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// How the autoscaler is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscaler {
    /// Chart repository.
    pub chart_repo: String,
    /// Chart version.
    pub chart_version: String,
    /// Image repository.
    pub image: String,
    /// Image tag.
    pub tag: String,
    /// The digest that the tag had when it was first resolved; without one the tag may move.
    #[serde(default)]
    pub digest: Option<String>,
    /// Which group grows: one of the configuration's [`EXPANDERS`](crate::config::keys::EXPANDERS) (`price` is fatal with this provider).
    pub expander: String,
    /// More flags.
    pub args: serde_json::Map<String, serde_json::Value>,
    /// More Helm values, merged over ours.
    pub values: serde_json::Map<String, serde_json::Value>,
}

impl Autoscaler {
    /// The image by tag, as decisions remember its digest.
    pub fn reference(image: &str, tag: &str) -> String {
        format!("{image}:{tag}")
    }

    /// The tag with its digest, as Kubernetes reads it after the image's name.
    pub fn pinned_tag(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.tag),
            None => self.tag.clone(),
        }
    }
}

/// The whole of it. Two plans are equal when they decide the same: what was only seen (free disks, whether
/// Slicer is installed yet, who is off) and the reasons do not count, for nobody needs to be asked again for them.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The cluster's name.
    pub cluster: String,
    /// Hosts that can be worked on; those that were off are named in `absent`. In the record of a run these are here, too (see
    /// [`Plan::with_absent_of`]).
    pub hosts: Vec<Host>,
    /// Daemons of those hosts.
    pub daemons: Vec<Daemon>,
    /// Servers, the first starts the cluster.
    pub servers: Vec<Server>,
    /// k3s settings.
    pub k3s: K3s,
    /// Autoscaler settings.
    pub autoscaler: Autoscaler,
    /// Public SSH keys of the user, besides the cluster's own, for the servers.
    pub ssh_keys: Vec<String>,
    /// Hosts of cluster.toml that could not be looked at, with the reason.
    pub absent: Vec<(String, String)>,
    /// What the other hosts' routes must know of those, as it was decided once.
    #[serde(default)]
    pub away: Vec<OfflineHost>,
    /// Why each decision was made, for people: (what, why).
    pub reasons: Vec<(String, String)>,
    /// The cluster that was founded, if any; kept with the decisions, not with the plan.
    #[serde(skip)]
    pub founded: Option<Founded>,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        let addresses = |plan: &Self| -> Vec<(String, Ipv4Addr, Option<NatGateway>)> {
            let hosts = plan.hosts.iter();
            hosts
                .map(|host| (host.name.clone(), host.lan_address, host.behind.clone()))
                .collect()
        };
        self.cluster == other.cluster
            && addresses(self) == addresses(other)
            && self.daemons == other.daemons
            && self.servers == other.servers
            && self.k3s == other.k3s
            && self.autoscaler == other.autoscaler
            && self.ssh_keys == other.ssh_keys
    }
}

impl Plan {
    /// The host called `name`.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The host that a group, a server or a host's own name is about.
    pub fn host_of<'a>(&'a self, subject: &'a str) -> Option<&'a str> {
        let group = self.daemon(subject).map(|daemon| daemon.host.as_str());
        let server = self.servers.iter().find(|server| server.name == subject);
        group
            .or(server.map(|server| server.host.as_str()))
            .or(self.host(subject).map(|host| host.name.as_str()))
    }

    /// The daemon of group `name`.
    pub fn daemon(&self, group: &str) -> Option<&Daemon> {
        self.daemons.iter().find(|daemon| daemon.group == group)
    }

    /// The part of it that is about these hosts, for people.
    #[must_use]
    pub fn about(&self, hosts: &[String]) -> Self {
        let mut part = self.clone();
        part.hosts.retain(|host| hosts.contains(&host.name));
        part.daemons.retain(|daemon| hosts.contains(&daemon.host));
        part.absent.retain(|(name, _)| hosts.contains(name));
        let names = hosts
            .iter()
            .chain(part.daemons.iter().map(|daemon| &daemon.group));
        let subjects: Vec<&String> = names.collect();
        let about = |what: &str| what.split(' ').next().unwrap_or_default().to_owned();
        part.reasons
            .retain(|(what, _)| what == "licence" || subjects.contains(&&about(what)));
        part
    }

    /// The groups that one process serves, the one that it is called after first.
    pub fn carried<'a>(&'a self, daemon: &'a Daemon) -> impl Iterator<Item = &'a Daemon> {
        let carrier = daemon.carrier();
        let own = self.daemon(carrier).into_iter();
        let others = self.daemons.iter();
        own.chain(others.filter(move |other| other.shares.as_deref() == Some(carrier)))
    }

    /// Worker daemons.
    pub fn workers(&self) -> impl Iterator<Item = &Daemon> {
        self.daemons
            .iter()
            .filter(|daemon| daemon.role == Role::Workers)
    }

    /// Servers whose host can be worked on.
    pub fn servers_here(&self) -> impl Iterator<Item = &Server> {
        self.servers
            .iter()
            .filter(|server| self.host(&server.host).is_some())
    }

    /// Daemons of one host.
    pub fn daemons_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Daemon> {
        self.daemons
            .iter()
            .filter(move |daemon| daemon.host == host)
    }

    /// Our directory of a daemon on its host: YAML, disk images, `.secrets/`; of an adopted one only what we note.
    pub fn directory(&self, daemon: &Daemon) -> String {
        let (root, carrier) = (ROOT, daemon.carrier());
        format!("{root}/{}/{carrier}", self.cluster)
    }
}
