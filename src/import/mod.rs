//! A cluster rebuilt from what lies on its hosts and servers: cluster.toml, decisions, secrets. One that slicer-k3s made is
//! told by its marks, one that somebody made by hand is adopted. Pure: what was found → what was lost.

mod autoscaler;
mod cloud_config;
mod file;
mod hand_made;
mod heard;
mod servers;
mod settings;
mod surroundings;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::control_plane::{self, Held, Installation, Observed};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Result};
use crate::k3s::Release;
use crate::plan::{Daemon, Decisions, Founded, Group, Mark, Role, Server};
use crate::slicer::ServerFacts;
use crate::state::State;

pub use autoscaler::Autoscaler;
pub use file::{ClusterFile, text};
pub use hand_made::{Candidate, ExistingCluster, adopt, missing_groups, once, ssh_keys};
pub use heard::in_sqlite;

/// A host with its mark.
#[derive(Clone, Debug)]
pub struct Found {
    /// How it is reached.
    pub ssh: String,
    /// The local file with sudo's password, where one is needed.
    pub sudo_password_file: Option<String>,
    /// What was seen of it; its name is the mark's.
    pub facts: HostFacts,
    /// What it was enrolled as.
    pub mark: Mark,
    /// Its table of routes: `CIDR VIA` lines.
    pub routes: String,
    /// The SSH keys in its servers' YAML.
    pub keys: Vec<String>,
}

impl Found {
    /// Whether an address is one of its own.
    fn has(&self, address: Ipv4Addr) -> bool {
        let mut addresses = self.facts.addresses.iter();
        addresses.any(|(_, net)| net.addr() == address)
    }
}

/// The whole of what was found.
pub struct Findings {
    /// The cluster's name.
    pub cluster: String,
    /// Its hosts.
    pub hosts: Vec<Found>,
    /// What its servers were told, by name.
    pub servers: Vec<(String, ServerFacts)>,
    /// Servers that did not answer.
    pub silent: Vec<String>,
    /// Which tokens the run before went by, where one has noted that.
    pub noted: Option<Noted>,
}

/// Who ran the last command, and SHA-256 of the tokens that the last run went by: where a rotation did not end, they say which token is the new one.
#[derive(Clone, Debug)]
pub struct Noted {
    /// `user@workstation`, as it says itself.
    pub who: String,
    /// Of the servers' token.
    pub server_token: String,
    /// Of the agents' token.
    pub agent_token: String,
}

impl Findings {
    /// Its daemons.
    pub fn daemons(&self) -> impl Iterator<Item = &Daemon> {
        self.hosts.iter().flat_map(|host| &host.mark.daemons)
    }

    /// Its servers, by the marks alone: which one came first is not known yet.
    pub fn marked_servers(&self) -> impl Iterator<Item = &Server> {
        self.hosts.iter().flat_map(|host| &host.mark.servers)
    }

    /// The hosts as the autoscaler's groups are ordered, so that the same cloud-config is made of them; those without a
    /// group by the names of their others.
    pub fn put_in_order(&mut self) {
        let order = self.autoscaler().map(|known| known.groups);
        let order = order.unwrap_or_default();
        self.hosts.sort_by_key(|host| {
            let groups = || host.mark.daemons.iter().map(|daemon| &daemon.group);
            let place = groups().find_map(|group| order.iter().position(|known| known == group));
            (place, groups().min().cloned())
        });
    }

    /// The address by which the others reach a host, as their routes say: one of its own, and of several the one that SSH
    /// reaches. A host that is behind another is reached by that one's.
    fn lan_address(&self, host: &Found) -> Option<Ipv4Addr> {
        let leads = |cidr| {
            let mut daemons = host.mark.daemons.iter();
            daemons.any(|daemon| daemon.cidr.trunc() == cidr)
        };
        let mut addresses: Vec<Ipv4Addr> = self
            .hosts
            .iter()
            .flat_map(|other| routes(&other.routes))
            .filter(|(cidr, via)| leads(*cidr) && host.has(*via))
            .map(|(_, via)| via)
            .collect();
        addresses.sort_by_key(|address| Some(*address) != host.facts.ssh_address);
        addresses.first().copied()
    }

    /// Addresses of hosts that belong to it, as the routes of these say, and were not named.
    pub fn missing(&self) -> Vec<Ipv4Addr> {
        let mut missing: Vec<Ipv4Addr> = self
            .hosts
            .iter()
            .flat_map(|host| routes(&host.routes))
            // To a host, not to its VMs; and what leads through one that was named, that one's own routes tell better.
            .filter(|(cidr, via)| {
                cidr.prefix_len() < 32 && !self.hosts.iter().any(|host| host.has(*via))
            })
            .filter(|(cidr, _)| !self.daemons().any(|daemon| daemon.cidr.trunc() == *cidr))
            .map(|(_, via)| via)
            .collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// What the autoscaler was deployed with, where it was.
    pub fn autoscaler(&self) -> Option<Autoscaler> {
        let mut servers = self.servers.iter();
        servers.find_map(|(_, facts)| {
            let groups = facts.cloud_config.expose();
            let by_hand = || Autoscaler::of_release(facts.release.expose(), groups);
            Autoscaler::read(&facts.chart, groups).or_else(by_hand)
        })
    }

    /// The state that was lost: with the same tokens and decisions, and a new key for the servers.
    pub fn state(&self) -> Result<State> {
        let known = servers::read(self)?;
        let mut state = State::create(&self.cluster)?;
        state.secrets.server_token = known.server_token;
        // Where agents join by the servers' token, they get one of their own.
        if let Some(token) = known.agent_token {
            state.secrets.agent_token = token;
        }
        state.secrets.retired = known.retired;
        state.secrets.ssh_public_key = self.given_key()?;
        state.decisions = self.decisions(known.servers);
        Ok(state)
    }

    /// The key of ours that the servers' YAML names; none where somebody else wrote it.
    fn given_key(&self) -> Result<String> {
        let comment = format!(" slicer-k3s-{}", self.cluster);
        let mut keys = self.hosts.iter().flat_map(|host| &host.keys);
        if let Some(key) = keys.find(|key| key.ends_with(&comment)) {
            return Ok(key.clone());
        }
        let mut daemons = self.daemons();
        if daemons.any(|daemon| daemon.role == Role::ControlPlane && daemon.adopted.is_some()) {
            return Ok(String::new());
        }
        Err(Failure::new(
            Code::Import,
            "no host tells which key the servers were made with",
        )
        .because("the control plane's YAML is not where slicer-k3s puts it"))
    }

    /// The cluster that was founded, as its servers have it, or else as its hosts' marks say. Where servers hold several,
    /// none is put on record: `init` refuses them by name.
    fn founded(&self, servers: &[Server]) -> Option<Founded> {
        let marked = || self.hosts.iter().find_map(|host| host.mark.founded.clone());
        let held = self
            .servers
            .iter()
            .filter_map(|(_, facts)| Held::parse(&facts.data));
        let held: Vec<Held> = held.filter(|held| held.data).collect();
        let mut cas = held.iter().filter_map(|held| held.ca.as_ref());
        let Some(ca) = cas.next() else {
            return marked();
        };
        if cas.any(|other| other != ca) {
            return None;
        }
        let Some(members) = held.iter().find_map(|held| held.members.as_ref()) else {
            return marked();
        };
        let votes = |server: &Server| {
            let mut members = members.iter();
            members.any(|member| !member.learner && member.is(&server.name, server.address))
        };
        let voting = servers.iter().filter(|server| votes(server));
        Some(Founded {
            ca: ca.clone(),
            voters: voting.map(|server| server.name.clone()).collect(),
        })
    }

    /// The servers' k3s as the marks have it: the newest one, for a host that was off kept an older mark. Where all servers
    /// were upgraded since, what they have, as `init` would take it over.
    fn k3s_version(&self, servers: &[Server]) -> Option<String> {
        let marks = self.hosts.iter().map(|host| &host.mark.k3s_version);
        let marked = marks.max_by_key(|version| Release::parse(version))?;
        let told = servers.iter().map(|server| {
            let mut told = self.servers.iter();
            let facts = told.find(|(name, _)| *name == server.name);
            let held = facts.and_then(|(_, facts)| Held::parse(&facts.data));
            let silent = || Observed::Silent(String::new());
            Installation::of(server, &held.map_or_else(silent, Observed::Answers))
        });
        let told: Vec<Installation> = told.collect();
        Some(match control_plane::upgrade(marked, &told) {
            Ok(Some(upgrade)) => upgrade.to.to_string(),
            // Where they differ, `init` refuses what is newer than this.
            Ok(None) | Err(_) => marked.clone(),
        })
    }

    fn decisions(&self, servers: Vec<Server>) -> Decisions {
        let first = self.hosts.first().map(|host| &host.mark);
        let groups = self
            .daemons()
            .map(|daemon| (daemon.group.clone(), Group::from(daemon)));
        let addresses = self
            .hosts
            .iter()
            .filter_map(|host| Some((host.facts.name.clone(), self.lan_address(host)?)));
        Decisions {
            k3s_version: self.k3s_version(&servers),
            k3s_networks: first.map(|mark| (mark.cluster_cidr, mark.service_cidr)),
            plain_secrets: self.servers.iter().any(|(_, facts)| !facts.encrypts),
            groups: groups.collect(),
            lan_addresses: addresses.collect(),
            // Seen again by the next plan.
            behind: BTreeMap::new(),
            image_digests: self
                .autoscaler()
                .and_then(|known| known.digest())
                .into_iter()
                .collect(),
            // Whoever answers is not gone, and of others nobody tells.
            gone: BTreeSet::new(),
            removed: BTreeSet::new(),
            founded: self.founded(&servers),
            servers,
            given_up: BTreeSet::new(),
        }
    }
}

fn routes(table: &str) -> impl Iterator<Item = (ipnet::Ipv4Net, Ipv4Addr)> {
    table.lines().take(1000).filter_map(|line| {
        let (cidr, via) = line.split_once(' ')?;
        Some((cidr.parse().ok()?, via.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests;
