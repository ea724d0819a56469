//! Who needs which route, and why.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use super::Route;
use crate::plan::{Plan, Role};

/// Who can have routes to VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one at the keyboard.
    Workstation,
    /// The LAN's own router, in place of everybody else.
    Router,
    /// A host, by its name in cluster.toml.
    Host(String),
}

/// A route with its reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Way {
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
    via: Ipv4Addr,
    host: String,
    group: Option<String>,
    role: Option<Role>,
}

fn networks(plan: &Plan) -> Vec<Network> {
    let here = plan.daemons.iter().filter_map(|daemon| {
        Some(Network {
            cidr: daemon.cidr,
            via: plan.host(&daemon.host)?.lan_address,
            host: daemon.host.clone(),
            group: Some(daemon.group.clone()),
            role: Some(daemon.role),
        })
    });
    let away = plan.away.iter().flat_map(|away| {
        away.cidrs.iter().map(|cidr| Network {
            cidr: *cidr,
            via: away.lan_address,
            host: away.host.clone(),
            group: None,
            role: None,
        })
    });
    here.chain(away).collect()
}

/// The routes of `who`, in the order of their networks.
pub fn ways(plan: &Plan, who: &Who) -> Vec<Way> {
    let mut ways: Vec<Way> = networks(plan)
        .into_iter()
        .filter(|network| match who {
            Who::Workstation => network.role == Some(Role::ControlPlane),
            Who::Router => true,
            Who::Host(host) => network.host != *host,
        })
        .map(|network| Way {
            route: Route {
                cidr: network.cidr.trunc(),
                via: network.via,
            },
            why: match (who, network.role) {
                (Who::Workstation, _) => "a kubectl of your own; `slicer-k3s kubectl` needs none",
                (Who::Router, _) => "every machine of the LAN that goes through it",
                (Who::Host(_), Some(Role::ControlPlane)) => "the API, and pods on servers",
                (Who::Host(_), Some(Role::Workers)) => "Slicer's API there, and pods on agents",
                (Who::Host(_), None) => "its VMs, once it is back",
            },
            host: network.host,
            group: network.group,
        })
        .collect();
    ways.sort();
    ways
}
