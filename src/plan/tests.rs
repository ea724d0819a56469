//! Fixtures: hosts as their surveys print them, and short ways to a plan.

mod behind;
mod layouts;
mod random;
mod refusals;

use std::fmt::Write as _;

use super::*;
use crate::config::{self, Config};
use crate::facts::HostFacts;
use crate::failure::Failure;

const VERSION: &str = "v1.34.4+k3s1";

/// A survey as a plain host prints it.
pub(crate) struct Machine {
    name: &'static str,
    address: &'static str,
    arch: &'static str,
    cores: u32,
    ram_gb: u64,
    extra_addresses: Vec<(&'static str, &'static str)>,
    routes: Vec<&'static str>,
    ports: Vec<u16>,
    pub(crate) more: String,
    kvm: bool,
}

pub(crate) fn machine(name: &'static str, address: &'static str) -> Machine {
    Machine {
        name,
        address,
        arch: "x86_64",
        cores: 8,
        ram_gb: 32,
        extra_addresses: Vec::new(),
        routes: Vec::new(),
        ports: vec![22],
        more: String::new(),
        kvm: true,
    }
}

impl Machine {
    pub(crate) fn survey(&self) -> String {
        let mut links = vec![("eth0", self.address)];
        links.extend(&self.extra_addresses);
        let json: Vec<String> = links
            .iter()
            .map(|(name, net)| {
                let (address, prefix) = net.split_once('/').unwrap();
                format!(r#"{{"ifname":"{name}","addr_info":[{{"local":"{address}","prefixlen":{prefix}}}]}}"#)
            })
            .collect();
        let mut routes = vec![r#"{"dst":"default","dev":"eth0"}"#.to_owned()];
        routes.extend(
            self.routes
                .iter()
                .map(|net| format!(r#"{{"dst":"{net}","dev":"eth0"}}"#)),
        );
        let (mut ports, mut interfaces) = (String::new(), String::new());
        for port in &self.ports {
            let _ = writeln!(ports, " {port:04X}");
        }
        for (name, _) in &links {
            let _ = writeln!(interfaces, " {name}");
        }
        let address = self.address.split('/').next().unwrap();
        format!(
            "== arch\n {}\n== model\n Box\n== os\n \"Debian 12\"\n== cores\n {}\n== memory\n {} kB\n\
             == disk\n /dev/sda1 500000000 100000000 400000000 20% /\n== kvm\n {}\n== systemd\n yes\n\
             == forwarding\n 1\n== addresses\n [{}]\n== routes\n [{}]\n== interfaces\n{interfaces}== ports\n{ports}\
             == identity\n id-{}\n boot\n== clock\n 1700000000\n== slicer\n Client: 0.1.71\n installed\n\
             == licences\n /home/alex/.slicer/LICENSE\n== ssh\n 192.168.1.10 50000 {address} 22\n{}== end\n",
            self.arch,
            self.cores,
            self.ram_gb * 1024 * 1024 - 300_000,
            if self.kvm { "yes" } else { "no" },
            json.join(","),
            routes.join(","),
            self.name,
            self.more,
        )
    }

    pub(crate) fn facts(&self) -> HostFacts {
        HostFacts::parse(self.name, &self.survey()).unwrap()
    }
}

fn three() -> (Config, Vec<HostFacts>) {
    let config = parsed(
        "name='home'\ncontrol-plane.host='n100'\n[hosts.n100]\nssh='a'\n[hosts.ryzen]\nssh='b'\n[hosts.pi5]\nssh='c'",
    );
    let pi5 = Machine {
        arch: "aarch64",
        cores: 4,
        ram_gb: 16,
        ..machine("pi5", "192.168.1.13/24")
    };
    let facts = vec![
        machine("n100", "192.168.1.11/24").facts(),
        machine("ryzen", "192.168.1.12/24").facts(),
        pi5.facts(),
    ];
    (config, facts)
}

fn parsed(text: &str) -> Config {
    config::parse(text, "cluster.toml").unwrap()
}

fn plan(config: &Config, decisions: &Decisions, facts: &[HostFacts]) -> Plan {
    decide(config, decisions, facts, &[], VERSION).unwrap()
}

fn refusals(config: &Config, decisions: &Decisions, facts: &[HostFacts]) -> String {
    told(&decide(config, decisions, facts, &[], VERSION).unwrap_err())
}

fn told(failures: &[Failure]) -> String {
    let lines: Vec<String> = failures
        .iter()
        .map(|failure| {
            format!(
                "{} {failure} ({})",
                failure.code.name(),
                failure.hint.as_deref().unwrap_or("-")
            )
        })
        .collect();
    lines.join("\n")
}
