//! (configuration, earlier decisions, facts) → plan, or everything that stands against it.

use super::behind::{self, Place};
use super::decisions::Decisions;
use super::groups::Draft;
use super::pool::Pool;
use super::{
    Autoscaler, Daemon, Host, Plan, Role, Server, away, capacity, clashes, fit, lan, left,
};
use crate::config::Config;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures};

/// Decides everything. `absent` are hosts that could not be looked at, with the reason.
pub fn decide(
    config: &Config,
    decisions: &Decisions,
    facts: &[HostFacts],
    absent: &[(String, String)],
    k3s_version: &str,
) -> Result<Plan, Failures> {
    // The file's order, whatever order the looks came back in.
    let ordered: Vec<HostFacts> = config
        .hosts
        .iter()
        .filter_map(|host| facts.iter().find(|facts| facts.name == host.name).cloned())
        .collect();
    let facts = ordered.as_slice();
    if let Some(failure) = fit::strangers(config, decisions, facts) {
        return Err(vec![failure]);
    }
    let mut draft = Draft {
        config,
        decisions,
        pool: Pool::new(config, decisions, facts),
        failures: fit::check(config, decisions, facts),
        reasons: Vec::new(),
        daemons: Vec::new(),
    };
    draft.control_plane_is_here(facts, absent);
    let hosts = draft.hosts(facts);
    for host in facts {
        draft.control_plane(host);
    }
    for host in facts {
        draft.workers(host);
    }
    let servers = draft.servers();
    draft.failures.extend(clashes::check(&draft.daemons, facts));
    draft.addresses(servers.len());
    draft.failures.extend(left::behind(config, decisions));
    let k3s = draft.k3s(k3s_version);
    let digest = draft.autoscaler_digest();
    draft.remarks(facts, &servers);
    let absent = away::unseen(config, facts, absent);
    if !draft.failures.is_empty() {
        return Err(draft.failures);
    }
    Ok(Plan {
        cluster: config.name.clone(),
        hosts,
        daemons: draft.daemons,
        servers,
        k3s,
        autoscaler: Autoscaler {
            chart_repo: config.autoscaler.chart_repo.clone(),
            chart_version: config.autoscaler.chart_version.clone(),
            image: config.autoscaler.image.clone(),
            tag: config.autoscaler.tag.clone(),
            digest,
            expander: config.autoscaler.expander.clone(),
            args: config.autoscaler.args.clone(),
            values: config.autoscaler.values.clone(),
        },
        ssh_keys: config.ssh_keys.clone(),
        away: away::away(decisions, &absent),
        absent,
        reasons: draft.reasons,
        founded: decisions.founded.clone(),
    })
}

impl Draft<'_> {
    /// Without its servers a new cluster cannot begin; an old one can do without a host that is off.
    fn control_plane_is_here(&mut self, facts: &[HostFacts], absent: &[(String, String)]) {
        if !self.decisions.servers.is_empty() {
            return;
        }
        for host in &self.config.control_plane.hosts {
            if facts.iter().any(|facts| facts.name == *host) {
                continue;
            }
            let why = absent
                .iter()
                .find(|(name, _)| name == host)
                .map_or("it was not looked at", |(_, why)| why.as_str());
            self.failures.push(
                Failure::new(
                    Code::SshUnreachable,
                    format!("{host} is to run servers but cannot be looked at"),
                )
                .because(why)
                .hint(format!(
                    "bring {host} up, or name another host in [control-plane] of cluster.toml"
                )),
            );
        }
    }

    fn hosts(&mut self, facts: &[HostFacts]) -> Vec<Host> {
        let mut hosts: Vec<(Host, lan::Lan)> = Vec::new();
        for host in facts {
            let configured = self.config.host(&host.name);
            let decided = self.decisions.lan_addresses.get(&host.name).copied();
            let lan = match lan::choose(host, configured.and_then(|host| host.lan_address), decided)
            {
                Ok(lan) => lan,
                Err(failure) => {
                    self.failures.push(failure);
                    continue;
                }
            };
            self.reason(
                &host.name,
                format!(
                    "{}, {}, {} cores, {} GB RAM, {} GB free, {}",
                    host.model,
                    host.arch,
                    host.cores,
                    host.ram_gb(),
                    host.disk_free_gb(),
                    host.os
                ),
            );
            self.reason(
                format!("{} address", host.name),
                format!("{}: {}", lan.address, lan.why),
            );
            for (other, other_lan) in &hosts {
                self.failures
                    .extend(twins((&host.name, &lan), (&other.name, other_lan)));
            }
            let licence_file = configured
                .and_then(|host| host.licence_file.clone())
                .or_else(|| host.licence_file.clone());
            let host = Host {
                name: host.name.clone(),
                lan_address: lan.address,
                behind: None,
                arch: host.arch,
                licence_file,
                slicer_installed: host.slicer.is_some(),
            };
            hosts.push((host, lan));
        }
        self.connected(&mut hosts, facts);
        hosts.into_iter().map(|(host, _)| host).collect()
    }

    /// Which host is another's gateway.
    fn connected(&mut self, hosts: &mut [(Host, lan::Lan)], facts: &[HostFacts]) {
        let places: Vec<Place> = hosts
            .iter()
            .filter_map(|(host, lan)| {
                let facts = facts.iter().find(|facts| facts.name == host.name)?;
                Some(Place { facts, lan })
            })
            .collect();
        let mut found = match behind::find(&places, &self.decisions.behind) {
            Ok(found) => found,
            Err(failure) => return self.failures.push(failure),
        };
        for (host, _) in hosts {
            host.behind = found.remove(&host.name);
            if let Some(behind) = &host.behind {
                self.reason(
                    format!("{} gateway", host.name),
                    format!(
                        "{}, which has {} in its network: packets from and to the LAN go through it",
                        behind.gateway, behind.inner
                    ),
                );
            }
        }
    }

    /// The servers: as decided once, else numbered over the control plane's groups.
    fn servers(&mut self) -> Vec<Server> {
        let wanted = self.config.control_plane.servers;
        let decided = &self.decisions.servers;
        if decided.is_empty() {
            return self
                .daemons
                .iter()
                .filter(|daemon| daemon.role == Role::ControlPlane)
                .flat_map(servers_of)
                .collect();
        }
        if u32::try_from(decided.len()) != Ok(wanted) {
            self.failures.push(
                Failure::new(
                    Code::PlanConflict,
                    format!(
                        "{} has {} servers, cluster.toml asks for {wanted}",
                        self.config.name,
                        decided.len()
                    ),
                )
                .because("their number is decided once: it changes what every server is told")
                .hint(format!(
                    "set `servers = {}` in [control-plane] of cluster.toml",
                    decided.len()
                )),
            );
        }
        let mut hosts: Vec<&str> = decided.iter().map(|server| server.host.as_str()).collect();
        hosts.dedup();
        hosts.retain(|host| {
            !self
                .config
                .control_plane
                .hosts
                .iter()
                .any(|name| name == host)
        });
        for host in hosts {
            self.failures.push(
                Failure::new(
                    Code::PlanConflict,
                    format!("servers run on {host}, which cluster.toml no longer names for them"),
                )
                .because("a server does not move: its etcd member and its network are its host's")
                .hint(format!(
                    "put \"{host}\" back into [control-plane] of cluster.toml"
                )),
            );
        }
        decided.clone()
    }

    /// Whether nodes and VMs can all have an address.
    fn addresses(&mut self, servers: usize) {
        let agents: u64 = self
            .daemons
            .iter()
            .map(|daemon| u64::from(daemon.max))
            .sum();
        let (nodes, room) = (
            agents + servers as u64,
            capacity::nodes(self.config.k3s.cluster_cidr),
        );
        if nodes > room {
            self.failures.push(
                Failure::new(
                    Code::PlanConflict,
                    format!("{nodes} nodes do not fit into the pods' network"),
                )
                .because(format!("{} holds {room} nodes", self.config.k3s.cluster_cidr))
                .hint("lower `max` of some workers, or choose a wider `cluster-cidr` in [k3s] of cluster.toml"),
            );
        }
        for daemon in &self.daemons {
            let (vms, room) = (
                u64::from(daemon.max.max(daemon.count)),
                capacity::vms(daemon.cidr),
            );
            if vms > room {
                self.failures.push(
                    Failure::new(
                        Code::PlanConflict,
                        format!(
                            "{vms} VMs of group {} on {} do not fit into its network",
                            daemon.group, daemon.host
                        ),
                    )
                    .because(format!("{} holds {room}", daemon.cidr))
                    .hint("lower `max`, or choose a wider `cidr` in cluster.toml"),
                );
            }
        }
    }

    /// The digest of the autoscaler's image, as it was resolved once.
    fn autoscaler_digest(&mut self) -> Option<String> {
        let wanted = &self.config.autoscaler;
        let image = Autoscaler::reference(&wanted.image, &wanted.tag);
        let digest = self.decisions.image_digests.get(&image).cloned();
        let why = match &digest {
            Some(digest) => format!("{image}, pinned to {digest}"),
            None => format!("{image}, by its tag: the registry did not tell its digest"),
        };
        // Without workers there is nothing to scale.
        if self
            .daemons
            .iter()
            .any(|daemon| daemon.role == Role::Workers)
        {
            self.reason("autoscaler", why);
        }
        digest
    }

    /// What the person should know before saying yes.
    fn remarks(&mut self, facts: &[HostFacts], servers: &[Server]) {
        if let [first, ..] = servers
            && servers.iter().all(|server| server.host == first.host)
            && facts.len() > 1
        {
            self.reason(
                "availability",
                format!(
                    "all servers run on {0}: the cluster outlives any agent host, but not {0}",
                    first.host
                ),
            );
        }
        let own = self.daemons.iter().filter(|daemon| daemon.shares.is_none());
        let daemons = own.count();
        if daemons > 2 {
            self.reason(
                "licence",
                format!("{daemons} Slicer daemons in all; Individual and Team licences allow 2 at once a seat"),
            );
        }
        for host in facts {
            let adopted = |group: &str| {
                let daemon = self.daemons.iter().find(|daemon| daemon.group == *group);
                daemon.is_some_and(|daemon| daemon.adopted.is_some() && daemon.host == host.name)
            };
            let strangers = host.foreign_groups.iter().map(String::as_str);
            let strangers: Vec<_> = strangers.filter(|group| !adopted(group)).collect();
            if !strangers.is_empty() {
                self.reason(
                    &host.name,
                    format!("left alone: group {}", strangers.join(", ")),
                );
            }
        }
    }
}

/// The VMs that a control-plane daemon starts, numbered and addressed as Slicer does.
fn servers_of(daemon: &Daemon) -> impl Iterator<Item = Server> {
    let addresses = daemon.cidr.hosts().skip(1);
    (1..=daemon.count)
        .zip(addresses)
        .map(|(n, address)| Server {
            name: format!("{}-{n}", daemon.group),
            group: daemon.group.clone(),
            host: daemon.host.clone(),
            address,
        })
}

/// Two hosts have two addresses.
fn twins(a: (&str, &lan::Lan), b: (&str, &lan::Lan)) -> Option<Failure> {
    let ((a, a_lan), (b, b_lan)) = (a, b);
    (a_lan.address == b_lan.address).then(|| {
        Failure::new(
            Code::PlanConflict,
            format!("{b} and {a} have one LAN address"),
        )
        .because(a_lan.address)
        .hint("correct `ssh` or `lan-address` of one of them in cluster.toml")
    })
}
