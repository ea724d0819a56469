//! What to propose for machines that were just seen.

use crate::config::{self, Fresh, FreshHost};
use crate::facts::HostFacts;
use crate::plan::default_max;

/// RAM of a server and of an agent by default, GiB.
const RAM_GB: u32 = 4;

/// Where the servers should run, how many, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ControlPlane {
    /// The host.
    pub(super) host: String,
    /// Why that one.
    pub(super) why: String,
}

/// The smallest machine that holds three servers: large ones are worth more as agents' hosts. Else the largest.
pub(super) fn control_plane(facts: &[HostFacts]) -> Option<ControlPlane> {
    let fit = || facts.iter().filter(|host| host.kvm && host.systemd);
    let roomy = fit()
        .filter(|host| host.ram_gb() >= 3 * RAM_GB)
        .min_by_key(|host| host.ram_gb());
    if let Some(host) = roomy {
        return Some(ControlPlane {
            host: host.name.clone(),
            why: if facts.len() == 1 {
                "the only one".to_owned()
            } else {
                "the smallest that holds three servers".to_owned()
            },
        });
    }
    let host = fit().max_by_key(|host| host.ram_gb()).or(facts.first())?;
    Some(ControlPlane {
        host: host.name.clone(),
        why: "the one with most RAM".to_owned(),
    })
}

/// The file for these machines (with how to reach each) and the chosen control plane.
pub(super) fn file(
    name: &str,
    machines: &[(String, HostFacts)],
    control_plane: Vec<String>,
) -> Fresh {
    let mut fresh = Fresh {
        name: name.to_owned(),
        control_plane,
        ..Fresh::default()
    };
    let alone = machines.len() == 1;
    let spread = fresh.control_plane.len() > 1;
    // One agent must find room beside the servers of an only host.
    let beside = if alone { RAM_GB } else { 0 };
    let room = machines
        .iter()
        .filter(|(_, facts)| fresh.control_plane.contains(&facts.name))
        .map(|(_, facts)| facts.ram_gb())
        .min()
        .unwrap_or(u32::MAX);
    let mut servers = if spread { 1 } else { 3 };
    if room < servers * RAM_GB + beside {
        if !spread {
            servers = 1;
            fresh.servers = Some(1);
        }
        if room < RAM_GB + beside {
            fresh.server_ram_gb = Some((room / 2).max(1));
        }
    }
    let server_ram = fresh.server_ram_gb.unwrap_or(RAM_GB);
    for (target, facts) in machines {
        let (ssh, port) = config::split_port(target);
        let runs_some = fresh.control_plane.contains(&facts.name);
        let here = if runs_some { servers } else { 0 };
        let left = facts.ram_gb().saturating_sub(here * server_ram);
        let agent_ram_gb = (left < RAM_GB).then_some(left.max(1));
        let agent = (2, agent_ram_gb.unwrap_or(RAM_GB));
        let (max, _) = default_max(facts, (here, 2, server_ram), agent);
        fresh.hosts.push(FreshHost {
            name: facts.name.clone(),
            ssh: ssh.to_owned(),
            port,
            seen: seen(facts),
            max: Some(max),
            agent_ram_gb: agent_ram_gb.filter(|_| alone || !runs_some),
        });
    }
    fresh
}

/// A machine in one line.
pub(super) fn seen(facts: &HostFacts) -> String {
    let mut line = format!(
        "{}, {}, {} cores, {} GB RAM, {} GB free",
        facts.model,
        facts.arch,
        facts.cores,
        facts.ram_gb(),
        facts.disk_free_gb()
    );
    let slicer = match &facts.slicer {
        Some(version) if version.is_empty() => "Slicer is installed".to_owned(),
        Some(version) => format!("Slicer {version}"),
        None => "Slicer is not installed".to_owned(),
    };
    line.push_str(", ");
    line.push_str(&slicer);
    if !facts.kvm {
        line.push_str(", no /dev/kvm");
    }
    line
}

/// A host's name from its own, else from the address it was reached by; distinct from those taken.
pub(super) fn name(hostname: &str, target: &str, taken: &[&str]) -> String {
    let address = target.rsplit('@').next().unwrap_or(target);
    let plain = |text: &str| -> String {
        let first = text.split('.').next().unwrap_or_default().to_lowercase();
        let tamed: String = first
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(36)
            .collect();
        tamed.trim_matches('-').to_owned()
    };
    let base = [hostname, address]
        .into_iter()
        .map(plain)
        .find(|name| {
            !name.is_empty()
                && name != "localhost"
                && name.contains(|c: char| c.is_ascii_lowercase())
        })
        .unwrap_or_else(|| "host".to_owned());
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    std::iter::once(base.clone())
        .chain(numbered)
        .find(|name| !taken.contains(&name.as_str()))
        .unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn machine(name: &str, ram_gb: u64) -> HostFacts {
        let text = format!("name = \"x\"\n[hosts.{name}]\nssh = \"192.168.1.11\"\n");
        let config = config::parse(&text, "cluster.toml").unwrap();
        let (mut facts, _) = crate::plan::assumed(&config).unwrap();
        let mut facts = facts.remove(0);
        facts.ram_bytes = ram_gb << 30;
        facts
    }

    fn reached(facts: &[HostFacts]) -> Vec<(String, HostFacts)> {
        facts
            .iter()
            .map(|facts| (format!("me@{}", facts.name), facts.clone()))
            .collect()
    }

    #[test]
    fn the_smallest_that_is_large_enough_runs_the_servers() {
        let facts = [machine("big", 64), machine("mini", 16), machine("pi", 8)];
        assert_eq!(control_plane(&facts).unwrap().host, "mini");
        let mut facts = [machine("pi", 8), machine("tiny", 4)];
        assert_eq!(control_plane(&facts).unwrap().host, "pi");
        facts[0].kvm = false;
        assert_eq!(control_plane(&facts).unwrap().host, "tiny");
        assert_eq!(control_plane(&[]), None);
    }

    /// Whatever is proposed must be accepted by the plan that follows at once.
    #[test]
    fn what_is_proposed_is_what_the_plan_can_do() {
        for ram in [2, 4, 7, 8, 12, 16, 64] {
            let facts = [machine("only", ram)];
            let fresh = file("home", &reached(&facts), vec!["only".into()]);
            let config = config::parse(&fresh.text(), "cluster.toml").unwrap();
            let plan = crate::plan::decide(
                &config,
                &crate::plan::Decisions::default(),
                &facts,
                &[],
                "v1.34.4+k3s1",
            );
            assert!(plan.is_ok(), "{ram} GB: {plan:?}\n{}", fresh.text());
        }
    }

    #[test]
    fn names_come_from_the_machine_then_from_its_address() {
        assert_eq!(name("N100.lan", "alex@192.168.1.11", &[]), "n100");
        assert_eq!(name("localhost", "pi@pi5.lan", &[]), "pi5");
        assert_eq!(name("", "192.168.1.11", &[]), "host");
        assert_eq!(name("pi", "x", &["pi", "pi-2"]), "pi-3");
    }
}
