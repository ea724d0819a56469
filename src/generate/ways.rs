//! Who needs which route, and why.

use ipnet::Ipv4Net;
use serde::Serialize;

use super::Route;
use crate::plan::{Plan, Role};

/// Who can have routes to VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteConsumer {
    /// The one at the keyboard.
    Workstation,
    /// The LAN's own router, in place of everybody else.
    Router,
    /// A host, by its name in cluster.toml.
    Host(String),
}

/// A route with its reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RequiredRoute {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// The host whose VMs it leads to.
    pub host: String,
    /// Their group; a host that is off tells none.
    pub group: Option<String>,
    /// Why.
    pub why: &'static str,
}

struct Network {
    cidr: Ipv4Net,
    host: String,
    group: Option<String>,
    why: &'static str,
}

fn networks(plan: &Plan, who: &RouteConsumer) -> Vec<Network> {
    let why = |role: Option<Role>| match (who, role) {
        (RouteConsumer::Workstation, _) => "a kubectl of your own; `slicer-k3s kubectl` needs none",
        (RouteConsumer::Router, _) => "every machine of the LAN that goes through it",
        (RouteConsumer::Host(_), Some(Role::ControlPlane)) => "the API, and pods on servers",
        (RouteConsumer::Host(_), Some(Role::Workers)) => "Slicer's API there, and pods on agents",
        (RouteConsumer::Host(_), None) => "its VMs, once it is back",
    };
    let wanted = |role| *who != RouteConsumer::Workstation || role == Some(Role::ControlPlane);
    let here = plan.daemons.iter().map(|daemon| {
        let (host, role) = (daemon.host.clone(), Some(daemon.role));
        (daemon.cidr, host, Some(daemon.group.clone()), role)
    });
    let away = plan.away.iter().flat_map(|away| {
        let cidrs = away.cidrs.iter();
        cidrs.map(|cidr| (*cidr, away.host.clone(), None, None))
    });
    let groups = here.chain(away);
    let mut networks: Vec<Network> = groups
        .filter(|(.., role)| wanted(*role))
        .map(|(cidr, host, group, role)| Network {
            cidr,
            host,
            group,
            why: why(role),
        })
        .collect();
    if let RouteConsumer::Host(from) = who {
        networks.extend(hosts_apart(plan, from));
    }
    networks
}

/// Hosts in another network, to which no default route need lead: where Slicer masquerades, their VMs' packets come from them.
fn hosts_apart(plan: &Plan, from: &str) -> Vec<Network> {
    let here = plan.hosts.iter().map(|host| (&host.name, host.lan_address));
    let away = plan.away.iter().map(|away| (&away.host, away.lan_address));
    here.chain(away)
        .filter(|(host, _)| !plan.beside(from, host))
        .map(|(host, address)| Network {
            cidr: Ipv4Net::from(address),
            host: host.clone(),
            group: None,
            why: "answers to its VMs, where Slicer masquerades them",
        })
        .collect()
}

/// The routes of `who`, in the order of their networks.
pub fn ways(plan: &Plan, who: &RouteConsumer) -> Vec<RequiredRoute> {
    let from = match who {
        RouteConsumer::Host(host) => Some(host.as_str()),
        RouteConsumer::Workstation | RouteConsumer::Router => None,
    };
    let mut ways: Vec<RequiredRoute> = networks(plan, who)
        .into_iter()
        .filter(|network| from != Some(network.host.as_str()))
        .filter_map(|network| {
            Some(RequiredRoute {
                route: Route {
                    cidr: network.cidr.trunc(),
                    via: plan.via(from, &network.host)?,
                },
                host: network.host,
                group: network.group,
                why: network.why,
            })
        })
        .collect();
    ways.sort();
    ways
}
