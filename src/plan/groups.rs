//! One group after another: what was decided is kept, what the user chose is checked, the rest is what is free.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::decisions::{Decisions, Group};
use super::pool::Pool;
use super::{Daemon, Role, adopted, capacity, fit};
use crate::config::Config;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures};

/// A plan in the making.
pub(super) struct Draft<'a> {
    pub(super) config: &'a Config,
    pub(super) decisions: &'a Decisions,
    pub(super) pool: Pool<'a>,
    pub(super) failures: Failures,
    pub(super) reasons: Vec<(String, String)>,
    pub(super) daemons: Vec<Daemon>,
}

/// What is wanted of one group; `None` is for us to decide.
struct Wanted {
    role: Role,
    /// The table of cluster.toml that speaks of it.
    section: String,
    group: Option<String>,
    cidr: Option<Ipv4Net>,
    api_port: Option<u16>,
    tap_prefix: Option<String>,
    /// The group whose daemon is to serve this one.
    shares: Option<String>,
}

impl Draft<'_> {
    pub(super) fn reason(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.reasons.push((what.into(), why.into()));
    }

    /// The servers' group on this host, if it is to have one.
    pub(super) fn control_plane(&mut self, host: &HostFacts) {
        let control_plane = &self.config.control_plane;
        let groups = control_plane.groups();
        let Some((_, group)) = groups.into_iter().find(|(name, _)| *name == host.name) else {
            return;
        };
        let wanted = Wanted {
            role: Role::ControlPlane,
            section: "control-plane".to_owned(),
            group: Some(group),
            cidr: control_plane.cidr,
            api_port: control_plane.api_port,
            tap_prefix: None,
            shares: None,
        };
        let Some((group, decided)) = self.settle(host, &wanted) else {
            return;
        };
        self.take_in(
            Daemon {
                group,
                host: host.name.clone(),
                role: Role::ControlPlane,
                cidr: decided.cidr,
                api_bind: if self
                    .config
                    .host(&host.name)
                    .is_some_and(|host| host.share_daemon && host.workers.is_some())
                {
                    Ipv4Addr::UNSPECIFIED
                } else {
                    // Nobody but the host itself talks to it.
                    Ipv4Addr::LOCALHOST
                },
                api_port: decided.api_port,
                tap_prefix: decided.tap_prefix,
                count: fit::servers_on(self.config, &host.name),
                cpu: control_plane.cpu,
                ram_gb: control_plane.ram_gb,
                storage_gb: control_plane.storage_gb,
                image: decided.image,
                min: 0,
                max: 0,
                priority: 0,
                shares: None,
                adopted: decided.adopted,
            },
            &wanted,
        );
    }

    /// The agents' group on this host, if it is to have one.
    pub(super) fn workers(&mut self, host: &HostFacts) {
        let Some(workers) = self
            .config
            .host(&host.name)
            .and_then(|host| host.workers.as_ref())
        else {
            return;
        };
        let wanted = Wanted {
            role: Role::Workers,
            section: format!("hosts.{}.workers", host.name),
            group: workers.group.clone(),
            cidr: workers.cidr,
            api_port: workers.api_port,
            tap_prefix: workers.tap_prefix.clone(),
            shares: self.shared(&host.name),
        };
        let Some((group, decided)) = self.settle(host, &wanted) else {
            return;
        };
        let control_plane = &self.config.control_plane;
        let servers = fit::servers_on(self.config, &host.name);
        let (fits, sum) = capacity::default_max(
            host,
            (servers, control_plane.cpu, control_plane.ram_gb),
            (workers.cpu, workers.ram_gb),
        );
        let max = workers.max.unwrap_or(fits.max(workers.min));
        let why = match workers.max {
            Some(wanted) if wanted > fits => {
                format!("{max}, as cluster.toml says: more than {fits}, which is what {sum} makes")
            }
            Some(_) => format!("{max}, as cluster.toml says"),
            None => format!("{max}: {sum}"),
        };
        self.reason(format!("{group} max"), why);
        self.take_in(
            Daemon {
                group,
                host: host.name.clone(),
                role: Role::Workers,
                cidr: decided.cidr,
                // The autoscaler reaches it by the bridge's address, which exists only once the daemon runs.
                api_bind: Ipv4Addr::UNSPECIFIED,
                api_port: decided.api_port,
                tap_prefix: decided.tap_prefix,
                count: 0,
                cpu: workers.cpu,
                ram_gb: workers.ram_gb,
                storage_gb: workers.storage_gb,
                image: decided.image,
                min: workers.min,
                max,
                priority: workers.priority,
                shares: decided.shares,
                adopted: decided.adopted,
            },
            &wanted,
        );
    }

    /// The servers' group on a host whose agents its daemon is to serve, too.
    fn shared(&mut self, host: &str) -> Option<String> {
        self.config.host(host).filter(|host| host.share_daemon)?;
        let mut daemons = self.daemons.iter();
        let servers = |daemon: &&Daemon| daemon.host == host && daemon.role == Role::ControlPlane;
        let carrier = daemons.find(servers)?;
        if let Some(own) = &carrier.adopted {
            self.failures.push(
                Failure::new(
                    Code::PlanConflict,
                    format!(
                        "the daemon of {} on {host} cannot serve agents, too",
                        carrier.group
                    ),
                )
                .because(format!("it was adopted: {} is not ours to write", own.file))
                .hint(format!(
                    "take `share-daemon` out of [hosts.{host}] of cluster.toml"
                )),
            );
        }
        Some(carrier.group.clone())
    }

    fn take_in(&mut self, daemon: Daemon, wanted: &Wanted) {
        let differs = adopted::disagreement(&daemon, &wanted.section);
        self.failures.extend(differs);
        self.daemons.push(daemon);
    }

    /// Name and decisions of a group; what stands against it goes to `failures`.
    fn settle(&mut self, host: &HostFacts, wanted: &Wanted) -> Option<(String, Group)> {
        let decided = self
            .decisions
            .groups
            .iter()
            .find(|(_, group)| group.host == host.name && group.role == wanted.role);
        if let Some((name, group)) = decided {
            self.must_agree(name, group, wanted);
            self.reason(
                format!("{name} network"),
                format!("{}: as before", group.cidr),
            );
            return Some((name.clone(), group.clone()));
        }
        let name = self.name(host, wanted)?;
        let cidr = self.network(&name, host, wanted)?;
        let api_port = self.port(&name, host, wanted)?;
        let tap_prefix = self.tap(&name, host, wanted)?;
        self.pool
            .take(&name, &host.name, cidr, api_port, &tap_prefix);
        let group = Group {
            host: host.name.clone(),
            role: wanted.role,
            cidr,
            api_port,
            tap_prefix,
            image: host.arch.image().to_owned(),
            shares: wanted.shares.clone(),
            adopted: None,
        };
        Some((name, group))
    }

    /// What was decided cannot be changed by editing cluster.toml: VMs and nodes carry it.
    fn must_agree(&mut self, name: &str, group: &Group, wanted: &Wanted) {
        let mut differ = |key: &str, is: &str, asked: Option<String>| {
            if let Some(asked) = asked.filter(|asked| asked != is) {
                self.failures.push(
                    Failure::new(
                        Code::PlanConflict,
                        format!(
                            "{key} of group {name} on {} is {is}, cluster.toml asks for {asked}",
                            group.host
                        ),
                    )
                    .because("it was decided when the group was made, and its VMs carry it")
                    .hint(format!(
                        "set `{key}` back in [{}] of cluster.toml, or leave it out",
                        wanted.section
                    )),
                );
            }
        };
        // Spread groups are named after their letter; a host's letter follows from where it stands in the list.
        differ("group", name, wanted.group.clone());
        differ(
            "cidr",
            &group.cidr.to_string(),
            wanted.cidr.map(|cidr| cidr.to_string()),
        );
        differ(
            "api-port",
            &group.api_port.to_string(),
            wanted.api_port.map(|port| port.to_string()),
        );
        differ("tap-prefix", &group.tap_prefix, wanted.tap_prefix.clone());
        let (is, asked) = (group.shares.is_some(), wanted.shares.is_some());
        differ("share-daemon", &is.to_string(), Some(asked.to_string()));
    }

    fn name(&mut self, host: &HostFacts, wanted: &Wanted) -> Option<String> {
        let Some(name) = &wanted.group else {
            let free = self.pool.numbered_group("k3s-agent-");
            if free.is_none() {
                self.exhausted("group name", host, wanted);
            }
            return free;
        };
        if let Some(seen) = self.pool.group_seen(name) {
            let failure = Failure::new(
                Code::PlanConflict,
                format!("group {name} for {} exists already", host.name),
            )
            .because(format!(
                "a Slicer daemon that is not this cluster's, or its bridge, was found on {seen}"
            ))
            .hint(format!(
                "choose another `group` in [{}] of cluster.toml",
                wanted.section
            ));
            self.failures.push(failure);
            return None;
        }
        Some(name.clone())
    }

    fn network(&mut self, name: &str, host: &HostFacts, wanted: &Wanted) -> Option<Ipv4Net> {
        if let Some(cidr) = wanted.cidr {
            self.reason(
                format!("{name} network"),
                format!("{cidr}: as cluster.toml says"),
            );
            return Some(cidr);
        }
        let free = self.pool.network();
        match free {
            Some(cidr) => self.reason(
                format!("{name} network"),
                format!("{cidr}: the first that no host has an address in or a route to"),
            ),
            None => self.exhausted("cidr", host, wanted),
        }
        free
    }

    fn port(&mut self, name: &str, host: &HostFacts, wanted: &Wanted) -> Option<u16> {
        if let Some(carrier) = &wanted.shares {
            let mut daemons = self.daemons.iter();
            return Some(daemons.find(|daemon| daemon.group == *carrier)?.api_port);
        }
        if let Some(port) = wanted.api_port {
            if self.pool.port_seen(&host.name, port) {
                let failure = Failure::new(
                    Code::PlanConflict,
                    format!("port {port} of {} is taken", host.name),
                )
                .because(format!(
                    "something listens there already; group {name} is to have it"
                ))
                .hint(format!(
                    "choose another `api-port` in [{}] of cluster.toml; on {}: sudo ss -ltnp",
                    wanted.section, host.name
                ));
                self.failures.push(failure);
            }
            return Some(port);
        }
        let first = match wanted.role {
            Role::ControlPlane => 8080,
            Role::Workers => 8081,
        };
        let free = self.pool.port(&host.name, first);
        match free {
            Some(port) if port != first && self.pool.port_seen(&host.name, first) => {
                self.reason(
                    format!("{name} port"),
                    format!("{port}: {first} is taken on {}", host.name),
                );
            }
            Some(_) => {}
            None => self.exhausted("api-port", host, wanted),
        }
        free
    }

    fn tap(&mut self, name: &str, host: &HostFacts, wanted: &Wanted) -> Option<String> {
        if let Some(tap) = &wanted.tap_prefix {
            if self.pool.interface_begins(&host.name, tap) {
                let failure = Failure::new(
                    Code::PlanConflict,
                    format!("tap prefix {tap} cannot be used on {}", host.name),
                )
                .because("an interface there begins with it")
                .hint(format!(
                    "choose another `tap-prefix` in [{}] of cluster.toml",
                    wanted.section
                ));
                self.failures.push(failure);
            }
            return Some(tap.clone());
        }
        let numbers = (1..=99).map(|n| n.to_string());
        let free = match wanted.role {
            Role::ControlPlane => {
                // k3s-cp → k3scp, k3s-cp-a → k3scpa: as the manual abbreviates.
                let short: String = name.chars().filter(|c| *c != '-').take(8).collect();
                let more = numbers.map(|n| format!("{short}x{n}"));
                self.pool
                    .tap(&host.name, std::iter::once(short.clone()).chain(more))
            }
            Role::Workers => {
                let own = name.strip_prefix("k3s-agent-").map(str::to_owned);
                let candidates = own.into_iter().chain(numbers).map(|n| format!("k3sa{n}"));
                self.pool.tap(&host.name, candidates)
            }
        };
        if free.is_none() {
            self.exhausted("tap-prefix", host, wanted);
        }
        free
    }

    fn exhausted(&mut self, key: &str, host: &HostFacts, wanted: &Wanted) {
        self.failures.push(
            Failure::new(
                Code::PlanConflict,
                format!("no free {key} is left for {}", host.name),
            )
            .because("every candidate is in use on some host")
            .hint(format!(
                "choose `{key}` in [{}] of cluster.toml",
                wanted.section
            )),
        );
    }
}
