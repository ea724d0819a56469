//! What is taken on any host, and the first of what is free.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::decisions::Decisions;
use crate::config::Config;
use crate::facts::{FoundDaemon, HostFacts};

/// Networks that others use by convention: Slicer's CNI file, Docker, overlays.
const CUSTOMARY: [(Ipv4Addr, u8, &str); 3] = [
    (
        Ipv4Addr::new(192, 168, 128, 0),
        24,
        "Slicer's own CNI network",
    ),
    (Ipv4Addr::new(172, 17, 0, 0), 16, "Docker's network"),
    (
        Ipv4Addr::new(100, 64, 0, 0),
        10,
        "the overlay networks' range",
    ),
];

/// What is taken.
pub(super) struct Pool<'a> {
    facts: &'a [HostFacts],
    networks: Vec<(Ipv4Net, String)>,
    groups: BTreeSet<String>,
    /// The cluster's name: its own daemons are no strangers.
    cluster: String,
    /// By host: what listens there, ours or not.
    ports: BTreeSet<(String, u16)>,
    /// Anywhere: what our groups have, so that no two of them look alike.
    own_ports: BTreeSet<u16>,
    taps: BTreeSet<(String, String)>,
}

impl<'a> Pool<'a> {
    /// Takes what was seen, what was decided and what the user chose.
    pub(super) fn new(config: &Config, decisions: &Decisions, facts: &'a [HostFacts]) -> Self {
        let mut pool = Self {
            facts,
            networks: Vec::new(),
            groups: BTreeSet::new(),
            cluster: config.name.clone(),
            ports: BTreeSet::new(),
            own_ports: BTreeSet::new(),
            taps: BTreeSet::new(),
        };
        for (address, prefix, who) in CUSTOMARY {
            let net = Ipv4Net::new(address, prefix).unwrap_or_default();
            pool.networks.push((net, who.to_owned()));
        }
        for (net, who) in [
            (config.k3s.cluster_cidr, "the pods' network"),
            (config.k3s.service_cidr, "the services' network"),
        ] {
            pool.networks.push((net, who.to_owned()));
        }
        for host in facts {
            pool.see(host);
        }
        for (name, group) in &decisions.groups {
            pool.take(
                name,
                &group.host,
                group.cidr,
                group.api_port,
                &group.tap_prefix,
            );
        }
        pool.reserve(config);
        pool
    }

    fn see(&mut self, host: &HostFacts) {
        let name = &host.name;
        for (interface, net) in &host.addresses {
            self.networks
                .push((net.trunc(), format!("{interface} on {name}")));
        }
        for net in &host.routes {
            self.networks
                .push((net.trunc(), format!("a route on {name}")));
        }
        self.ports
            .extend(host.ports.iter().map(|port| (name.clone(), *port)));
        for daemon in &host.daemons {
            let who = format!("{} on {name}", daemon.source);
            self.networks
                .extend(daemon.networks.iter().map(|net| (net.trunc(), who.clone())));
            self.groups.extend(daemon.groups.iter().cloned());
            self.ports
                .extend(daemon.api_port.map(|port| (name.clone(), port)));
            let taps = daemon.tap_prefixes.iter().cloned();
            self.taps.extend(taps.map(|tap| (name.clone(), tap)));
        }
        // A bridge without a daemon that we found is still somebody's.
        let bridges = host.interfaces.iter();
        self.groups.extend(bridges.filter_map(|name| {
            let group = name.strip_prefix("br")?.strip_suffix('0')?;
            Some(group.to_owned())
        }));
    }

    /// What the user chose is not given to anybody else.
    fn reserve(&mut self, config: &Config) {
        let control_plane = &config.control_plane;
        let chosen = control_plane
            .cidr
            .map(|net| (net, "control-plane.cidr".to_owned()));
        self.networks.extend(chosen);
        self.own_ports.extend(control_plane.api_port);
        for host in &config.hosts {
            let Some(workers) = &host.workers else {
                continue;
            };
            let chosen = workers
                .cidr
                .map(|net| (net, format!("hosts.{}.workers.cidr", host.name)));
            self.networks.extend(chosen);
            self.groups.extend(workers.group.clone());
            self.own_ports.extend(workers.api_port);
            let tap = workers.tap_prefix.clone();
            self.taps.extend(tap.map(|tap| (host.name.clone(), tap)));
        }
    }

    /// Marks all that a daemon has as taken.
    pub(super) fn take(&mut self, group: &str, host: &str, cidr: Ipv4Net, port: u16, tap: &str) {
        self.networks.push((cidr, format!("group {group}")));
        self.groups.insert(group.to_owned());
        self.own_ports.insert(port);
        self.taps.insert((host.to_owned(), tap.to_owned()));
    }

    /// Whether a group's name is taken.
    pub(super) fn has_group(&self, name: &str) -> bool {
        self.groups.contains(name)
    }

    /// The first free `prefix1` … `prefix99`.
    pub(super) fn numbered_group(&self, prefix: &str) -> Option<String> {
        (1..=99)
            .map(|n| format!("{prefix}{n}"))
            .find(|name| !self.has_group(name))
    }

    /// The first free /24.
    pub(super) fn network(&self) -> Option<Ipv4Net> {
        let high = (137..=254).map(|n| Ipv4Addr::new(192, 168, n, 0));
        let ten = (137..=254).map(|n| Ipv4Addr::new(10, n, 0, 0));
        high.chain(ten)
            .filter_map(|address| Ipv4Net::new(address, 24).ok())
            .find(|net| !self.networks.iter().any(|(taken, _)| overlap(*net, *taken)))
    }

    /// The first port from `first` on that is free on the host and not another group's.
    pub(super) fn port(&self, host: &str, first: u16) -> Option<u16> {
        (first..first.saturating_add(1000)).find(|port| {
            !self.own_ports.contains(port) && !self.ports.contains(&(host.to_owned(), *port))
        })
    }

    /// Whether a port is listened on, or a found daemon's, on this host.
    pub(super) fn port_seen(&self, host: &str, port: u16) -> bool {
        self.ports.contains(&(host.to_owned(), port))
    }

    /// The host on which somebody else's group of this name was seen, or a bridge that nobody of us has.
    pub(super) fn group_seen(&self, name: &str) -> Option<&str> {
        let bridge = format!("br{name}0");
        let has = |daemon: &FoundDaemon| daemon.groups.iter().any(|group| group == name);
        let ours = |daemon: &FoundDaemon| daemon.cluster() == Some(self.cluster.as_str());
        self.facts
            .iter()
            .find(
                |host| match host.daemons.iter().find(|daemon| has(daemon)) {
                    Some(daemon) => !ours(daemon),
                    None => host.interfaces.contains(&bridge),
                },
            )
            .map(|host| host.name.as_str())
    }

    /// The first of these tap prefixes that can name taps on this host.
    pub(super) fn tap(
        &self,
        host: &str,
        candidates: impl Iterator<Item = String>,
    ) -> Option<String> {
        let mut candidates = candidates;
        candidates.find(|tap| self.tap_is_free(host, tap))
    }

    /// Taps are called prefix and number: no prefix may begin another one on the same host, or an interface.
    pub(super) fn tap_is_free(&self, host: &str, tap: &str) -> bool {
        let clash = |(taker, taken): &(String, String)| {
            taken == tap
                || (taker == host && (taken.starts_with(tap) || tap.starts_with(taken.as_str())))
        };
        !self.taps.iter().any(clash) && !self.interface_begins(host, tap)
    }

    /// Whether an interface of this host begins with this prefix.
    pub(super) fn interface_begins(&self, host: &str, tap: &str) -> bool {
        let hosts = self.facts.iter().filter(|facts| facts.name == host);
        hosts
            .flat_map(|facts| &facts.interfaces)
            .any(|interface| interface.starts_with(tap))
    }
}

/// Whether two networks share an address.
pub(super) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}
