//! Facts assumed of hosts that nobody looks at: what cluster.toml alone allows to plan with.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::{Config, Host, Ssh};
use crate::facts::{Arch, HostFacts};
use crate::failure::{Code, Failure, Failures};

/// The RAM and cores of the machine that is assumed: the manual's own control-plane host.
const RAM_GB: u32 = 16;
const CORES: u32 = 4;

/// What is assumed of every host, and in which words a person is told.
pub fn assumed(config: &Config) -> Result<(Vec<HostFacts>, String), Failures> {
    let addresses: Vec<Option<Ipv4Addr>> = config.hosts.iter().map(address).collect();
    let mut failures = Vec::new();
    if config.hosts.len() > 1 {
        let unknown = config.hosts.iter().zip(&addresses);
        for (host, _) in unknown.filter(|(_, address)| address.is_none()) {
            failures.push(
                Failure::new(
                    Code::Config,
                    format!(
                        "the LAN address of {} is not known without looking",
                        host.name
                    ),
                )
                .because("routes to its VMs lead through it, and `ssh` is no address")
                .hint(format!(
                    "run slicer-k3s init first, which sees it; or set `lan-address` in [hosts.{}] of cluster.toml where it is on the others' LAN",
                    host.name
                )),
            );
        }
    }
    if !failures.is_empty() {
        return Err(failures);
    }
    // No file tells the address of an only host.
    let addresses: Vec<Ipv4Addr> = addresses
        .into_iter()
        .map(|address| address.unwrap_or(Ipv4Addr::new(192, 0, 2, 1)))
        .collect();
    let prefix = common_prefix(&addresses);
    let facts = config.hosts.iter().zip(addresses).map(|(host, address)| {
        let net = Ipv4Net::new(address, prefix).unwrap_or_default();
        one(config, host, net)
    });
    let words = format!(
        "no host was asked; assumed of each: {}, {CORES} cores, {RAM_GB} GB RAM, every network and port free{}",
        Arch::X86_64,
        if config.hosts.iter().any(|host| host.licence_file.is_none()) {
            ", the licence where Slicer looks for it"
        } else {
            ""
        }
    );
    Ok((facts.collect(), words))
}

fn address(host: &Host) -> Option<Ipv4Addr> {
    host.lan_address.or_else(|| match &host.ssh {
        Ssh::Local => None,
        // Behind a jump host the address is another network's, or a name there: no guess.
        Ssh::Target(_) if host.jump.is_some() => None,
        Ssh::Target(target) => target.rsplit('@').next()?.parse().ok(),
    })
}

/// The longest prefix, of those that LANs have, under which all addresses are one network's.
fn common_prefix(addresses: &[Ipv4Addr]) -> u8 {
    (16..=24)
        .rev()
        .find(|prefix| {
            let nets = addresses
                .iter()
                .filter_map(|address| Ipv4Net::new(*address, *prefix).ok());
            let mut nets = nets.map(|net| net.network());
            nets.next()
                .is_none_or(|first| nets.all(|other| other == first))
        })
        .unwrap_or(24)
}

fn one(config: &Config, host: &Host, net: Ipv4Net) -> HostFacts {
    // What cluster.toml asks for is assumed to fit.
    let servers = super::fit::servers_on(config, &host.name) * config.control_plane.ram_gb;
    let agents = host.workers.as_ref().map_or(0, |workers| workers.ram_gb);
    let ram_gb = RAM_GB.max(servers).max(agents);
    HostFacts {
        name: host.name.clone(),
        hostname: host.name.clone(),
        arch: Arch::X86_64,
        model: "not looked at".to_owned(),
        os: "unknown system".to_owned(),
        cores: CORES,
        ram_bytes: u64::from(ram_gb) << 30,
        disk_free_bytes: u64::MAX,
        kvm: true,
        systemd: true,
        lacks: Vec::new(),
        forwarding: true,
        addresses: vec![("lan".to_owned(), net)],
        routes: Vec::new(),
        default_interface: Some("lan".to_owned()),
        ports: Vec::new(),
        interfaces: vec!["lan".to_owned()],
        slicer: Some(String::new()),
        licence_file: None,
        daemons: Vec::new(),
        foreign_groups: Vec::new(),
        marks: Vec::new(),
        ssh_address: Some(net.addr()),
        identity: host.name.clone(),
        clock: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::plan::{Decisions, decide};

    fn parse(text: &str) -> Config {
        config::parse(text, "cluster.toml").unwrap()
    }

    #[test]
    fn a_small_file_is_enough_for_a_plan() {
        let config = parse(
            "name = \"home\"\n[control-plane]\nhost = \"n100\"\n[hosts.n100]\nssh = \"alex@192.168.1.11\"\n\
             [hosts.pi5]\nssh = \"pi@somewhere\"\nlan-address = \"192.168.2.13\"\n",
        );
        let (facts, _) = assumed(&config).unwrap();
        let plan = decide(&config, &Decisions::default(), &facts, &[], "v1.34.4+k3s1").unwrap();
        assert_eq!(plan.servers.len(), 3);
        assert_eq!(plan.hosts[1].lan_address.to_string(), "192.168.2.13");
    }

    /// A guessed gateway would send packets astray: better none.
    #[test]
    fn an_address_is_never_guessed_where_it_matters() {
        let two = "name = \"home\"\n[control-plane]\nhost = \"a\"\n[hosts.a]\nssh = \"192.168.1.11\"\n[hosts.b]\nssh = \"b\"\n";
        let failures = assumed(&parse(two)).unwrap_err();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].hint.as_ref().unwrap().contains("[hosts.b]"));
        let one = "name = \"home\"\n[hosts.a]\nssh = \"local\"\n";
        assert!(assumed(&parse(one)).is_ok());
    }
}
