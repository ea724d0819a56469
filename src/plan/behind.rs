//! Hosts that are not on the LAN themselves: another host, with an address in both networks, is their gateway, whether it
//! translates addresses or not.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Plan;
use super::lan::{self, Lan};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure};

/// How a host that is not on the LAN is connected to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatGateway {
    /// The host that is its gateway, by its name in cluster.toml.
    pub gateway: String,
    /// The gateway's address in the host's own network.
    pub inner: Ipv4Addr,
}

/// A host with what the way to it depends on.
pub(super) struct Place<'a> {
    pub(super) facts: &'a HostFacts,
    pub(super) lan: &'a Lan,
}

impl Place<'_> {
    fn name(&self) -> &str {
        &self.facts.name
    }

    fn beside(&self, other: &Self) -> bool {
        self.lan.net.contains(&other.lan.address) && other.lan.net.contains(&self.lan.address)
    }

    /// How this host is connected through `gateway`, which is on the LAN.
    fn behind(&self, gateway: &Self) -> Option<NatGateway> {
        let inner = lan::address_beside(gateway.facts, self.lan)?;
        Some(NatGateway {
            gateway: gateway.name().to_owned(),
            inner,
        })
    }
}

/// The hosts that are behind another, by name. The LAN is the network of the most hosts from which all others can be
/// reached. `decided` counts where a gateway is off and cannot tell its addresses.
pub(super) fn find(
    places: &[Place],
    decided: &BTreeMap<String, NatGateway>,
) -> Result<BTreeMap<String, NatGateway>, Failure> {
    let mut lans: Vec<Vec<&Place>> = Vec::new();
    for place in places {
        match lans.iter_mut().find(|lan| lan[0].beside(place)) {
            Some(lan) => lan.push(place),
            None => lans.push(vec![place]),
        }
    }
    // Whoever was behind another once is so again; of equals the first of the file is kept.
    lans.sort_by_key(|lan| {
        let inner = lan.iter().any(|place| decided.contains_key(place.name()));
        (inner, std::cmp::Reverse(lan.len()))
    });
    let mut first = None;
    for lan in &lans {
        match seen_from(lan, places, decided) {
            Ok(found) => return Ok(found),
            Err(apart) => first = first.or(Some(apart)),
        }
    }
    first.map_or_else(
        || Ok(BTreeMap::new()),
        |(one, other)| Err(apart(one, other)),
    )
}

/// The gateways of all that are not on this LAN, or a host of it and one that has none.
fn seen_from<'a>(
    lan: &[&'a Place],
    places: &'a [Place],
    decided: &BTreeMap<String, NatGateway>,
) -> Result<BTreeMap<String, NatGateway>, (&'a Place<'a>, &'a Place<'a>)> {
    let mut found = BTreeMap::new();
    for place in places.iter().filter(|place| !lan[0].beside(place)) {
        let off = |behind: &&NatGateway| !places.iter().any(|place| place.name() == behind.gateway);
        let behind = lan
            .iter()
            .find_map(|gateway| place.behind(gateway))
            .or_else(|| decided.get(place.name()).filter(off).cloned());
        match behind {
            Some(behind) => found.insert(place.name().to_owned(), behind),
            None => return Err((lan[0], place)),
        };
    }
    Ok(found)
}

fn apart(one: &Place, other: &Place) -> Failure {
    Failure::new(
        Code::PlanConflict,
        format!(
            "{} ({}) and {} ({}) are not on one network",
            other.name(),
            other.lan.net,
            one.name(),
            one.lan.net
        ),
    )
    .because("packets between their VMs need each host as a gateway on the link, or another host with an address in both networks")
    .hint("give `lan-address` of both in cluster.toml, connect them to one LAN, or enrol the machine between them as a host")
}

impl Plan {
    /// A host's LAN address and how it is connected, also of one that is off.
    fn place(&self, host: &str) -> Option<(Ipv4Addr, Option<&NatGateway>)> {
        let here = self.hosts.iter().find(|known| known.name == host);
        let away = self.away.iter().find(|away| away.host == host);
        here.map(|host| (host.lan_address, host.behind.as_ref()))
            .or_else(|| away.map(|away| (away.lan_address, away.behind.as_ref())))
    }

    /// The gateway by which `from`, a host or else any machine of the LAN, reaches `to` and its VMs.
    pub fn via(&self, from: Option<&str>, to: &str) -> Option<Ipv4Addr> {
        let (address, there) = self.place(to)?;
        let here = from.and_then(|from| self.place(from)?.1);
        match (here, there) {
            (here, there) if here == there => Some(address),
            (Some(here), _) => Some(here.inner),
            (None, Some(there)) if Some(there.gateway.as_str()) == from => Some(address),
            (None, Some(there)) => Some(self.place(&there.gateway)?.0),
            (None, None) => Some(address),
        }
    }

    /// The hosts that packets from one host to another go through.
    pub fn between(&self, from: &str, to: &str) -> Vec<&str> {
        let place = |host: &str| self.place(host).and_then(|(_, behind)| behind);
        let (here, there) = (place(from), place(to));
        if here == there {
            return Vec::new();
        }
        let mut hosts: Vec<&str> = [here, there]
            .into_iter()
            .flatten()
            .map(|behind| behind.gateway.as_str())
            .filter(|gateway| ![from, to].contains(gateway))
            .collect();
        hosts.dedup();
        hosts
    }

    /// Whether two hosts have addresses in one network: neither needs a route to the other itself.
    pub fn beside(&self, one: &str, other: &str) -> bool {
        let place = |host: &str| self.place(host).and_then(|(_, behind)| behind);
        let gateway = |behind: Option<&NatGateway>, host: &str| {
            behind.is_some_and(|behind| behind.gateway == host)
        };
        let (here, there) = (place(one), place(other));
        here == there || gateway(here, other) || gateway(there, one)
    }

    /// The hosts that are behind this one.
    pub fn behind(&self, gateway: &str) -> Vec<&str> {
        let here = self
            .hosts
            .iter()
            .map(|host| (host.name.as_str(), &host.behind));
        let away = self
            .away
            .iter()
            .map(|away| (away.host.as_str(), &away.behind));
        here.chain(away)
            .filter(|(_, behind)| {
                let behind = behind.as_ref();
                behind.is_some_and(|behind| behind.gateway == gateway)
            })
            .map(|(name, _)| name)
            .collect()
    }
}
