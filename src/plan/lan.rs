//! The address by which the other hosts reach a host: the gateway of every route to its VMs.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::facts::HostFacts;
use crate::failure::{Code, Failure};

/// A LAN address with its network and the reason for it.
#[derive(Clone, Debug)]
pub(super) struct Lan {
    pub(super) address: Ipv4Addr,
    pub(super) net: Ipv4Net,
    pub(super) why: String,
}

/// Chooses a host's LAN address.
pub(super) fn choose(
    facts: &HostFacts,
    configured: Option<Ipv4Addr>,
    decided: Option<Ipv4Addr>,
) -> Result<Lan, Failure> {
    let found = |address: Ipv4Addr| {
        usable(facts)
            .find(|(_, net)| net.addr() == address)
            .map(|(interface, net)| (interface.clone(), *net))
    };
    // What a person chose may be on any interface, such as OpenWrt's `br-lan`.
    let chosen = |address: Ipv4Addr| {
        let mut all = facts.addresses.iter();
        all.find(|(_, net)| net.addr() == address).cloned()
    };
    let lan = |(_, net): (String, Ipv4Net), why: String| Lan {
        address: net.addr(),
        net,
        why,
    };
    let name = &facts.name;
    if let Some(address) = configured {
        return chosen(address)
            .map(|found| lan(found, "as cluster.toml says".to_owned()))
            .ok_or_else(|| {
                Failure::new(
                    Code::PlanConflict,
                    format!("{name} does not have the address {address}"),
                )
                .because(format!("its addresses are {}", list(facts)))
                .hint(format!(
                    "correct `lan-address` of [hosts.{name}] in cluster.toml, or leave it out"
                ))
            });
    }
    if let Some(found) = decided.and_then(found) {
        return Ok(lan(found, "as before".to_owned()));
    }
    let moved = decided.map_or(String::new(), |old| format!(" (it was {old} before)"));
    let by_ssh = facts
        .ssh_address
        .filter(Ipv4Addr::is_private)
        .and_then(found);
    if let Some(found) = by_ssh {
        return Ok(lan(found, format!("SSH reaches it there{moved}")));
    }
    let private = |(_, net): &&(String, Ipv4Net)| net.addr().is_private();
    let by_default = usable(facts)
        .filter(private)
        .find(|(interface, _)| Some(interface) == facts.default_interface.as_ref());
    if let Some(found) = by_default {
        let why = format!("of {}, where its default route leaves{moved}", found.0);
        return Ok(lan(found.clone(), why));
    }
    if let Some(found) = usable(facts).find(private) {
        let why = format!("of {}, its first private address{moved}", found.0);
        return Ok(lan(found.clone(), why));
    }
    Err(Failure::new(
        Code::PlanConflict,
        format!("cannot tell by which address the other hosts reach {name}"),
    )
    .because(format!("its addresses are {}", list(facts)))
    .hint(format!(
        "give `lan-address` in [hosts.{name}] of cluster.toml"
    )))
}

/// The address that a host has in another's network.
pub(super) fn address_beside(facts: &HostFacts, other: &Lan) -> Option<Ipv4Addr> {
    let beside = |net: &&Ipv4Net| net.contains(&other.address) && other.net.contains(&net.addr());
    let nets = usable(facts).map(|(_, net)| net);
    nets.filter(|net| net.addr() != other.address)
        .find(beside)
        .map(Ipv4Net::addr)
}

/// What the names of interfaces for containers and others' VMs begin with.
///
/// Source: moby/moby (`docker0`, `br-<id>`), flannel-io/flannel as k3s has it (`flannel.1`, `cni0`), get.slicervm.com (`mvm-br`, in
/// its /etc/cni/net.d/50-mvm.conflist), libvirt (`virbr0`), veth(4).
const CONTAINERS: [&str; 7] = ["docker", "cni", "flannel", "mvm-br", "virbr", "veth", "br-"];

/// Addresses that are not of a bridge for VMs or containers.
fn usable(facts: &HostFacts) -> impl Iterator<Item = &(String, Ipv4Net)> {
    let vms: Vec<Ipv4Net> = facts
        .daemons
        .iter()
        .flat_map(|daemon| daemon.networks.iter().map(Ipv4Net::trunc))
        .collect();
    let container = |name: &str| CONTAINERS.iter().any(|prefix| name.starts_with(prefix));
    facts
        .addresses
        .iter()
        .filter(move |(name, net)| !container(name) && !vms.contains(&net.trunc()))
}

fn list(facts: &HostFacts) -> String {
    let all: Vec<String> = facts
        .addresses
        .iter()
        .take(8)
        .map(|(interface, net)| format!("{net} ({interface})"))
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// "n100 does not have the address 192.168.1.2 / its addresses are 192.168.1.2/24 (br-lan)".
    #[test]
    fn a_configured_address_counts_on_every_interface() {
        let config = config::parse("name='x'\n[hosts.x]\nssh='local'", "x").unwrap();
        let (mut facts, _) = crate::plan::assumed(&config).unwrap();
        let mut facts = facts.remove(0);
        let net = |text: &str| text.parse::<Ipv4Net>().unwrap();
        facts.addresses = vec![
            ("br-lan".into(), net("192.168.1.2/24")),
            ("eth1".into(), net("10.9.0.2/24")),
        ];
        facts.ssh_address = None;
        let address = |configured: Option<&str>| {
            let configured = configured.map(|text| text.parse().unwrap());
            choose(&facts, configured, None).map(|lan| lan.address.to_string())
        };
        assert_eq!(address(Some("192.168.1.2")).unwrap(), "192.168.1.2");
        assert!(address(Some("192.168.1.3")).is_err());
        // Unasked, a bridge is for containers.
        assert_eq!(address(None).unwrap(), "10.9.0.2");
    }
}
