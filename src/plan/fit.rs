//! Whether the hosts found can be what cluster.toml wants them to be.

use super::decisions::Decisions;
use super::mark::Mark;
use super::pool::overlap;
use crate::config::Config;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures};
use crate::names::ours::ROOT;

/// Disk that one VM needs to boot at all: its image is sparse and grows with use.
const LEAST_DISK_GB: u32 = 5;

/// What makes hosts unfit, all of it.
pub(super) fn check(config: &Config, decisions: &Decisions, facts: &[HostFacts]) -> Failures {
    let mut failures = Vec::new();
    for host in facts {
        machine(config, host, &mut failures);
        room(config, decisions, host, &mut failures);
        pods(config, host, &mut failures);
        failures.extend(enrolled_otherwise(config, host));
    }
    for (n, host) in facts.iter().enumerate() {
        let twin = facts[..n]
            .iter()
            .find(|other| !host.identity.is_empty() && other.identity == host.identity);
        if let Some(twin) = twin {
            failures.push(
                Failure::new(
                    Code::PlanConflict,
                    format!("{} and {} are the same machine", twin.name, host.name),
                )
                .because("they have one machine id and one boot id")
                .hint(format!("remove [hosts.{}] from cluster.toml", host.name)),
            );
        }
    }
    failures
}

fn machine(config: &Config, host: &HostFacts, failures: &mut Failures) {
    let name = &host.name;
    let mut unfit = |what: &str, cause: &str, hint: String| {
        failures.push(
            Failure::new(Code::HostUnfit, format!("{name} {what}"))
                .because(cause)
                .hint(hint),
        );
    };
    if !host.kvm {
        unfit(
            "cannot run microVMs",
            "/dev/kvm does not exist",
            format!(
                "enable virtualisation in the firmware of {name}; then, on {name}: sudo modprobe kvm_intel || sudo modprobe kvm_amd"
            ),
        );
    }
    let spread = config.control_plane.hosts.len() > 1;
    let nft = host.lacks.iter().all(|lacks| lacks != "nft");
    if !nft && spread && servers_on(config, name) > 0 {
        unfit(
            "cannot keep its servers' addresses on the way to the others",
            "it has no `nft`",
            format!("on {name}: sudo apt-get install nftables, or your distribution's package"),
        );
    }
    if !host.systemd {
        unfit(
            "is not run by systemd",
            "/run/systemd/system does not exist",
            "Slicer's daemons are systemd units: use a distribution with systemd".to_owned(),
        );
    }
}

/// RAM and disk for what runs there all the time.
fn room(config: &Config, decisions: &Decisions, host: &HostFacts, failures: &mut Failures) {
    let servers = servers_on(config, &host.name);
    let control_plane = &config.control_plane;
    let workers = config
        .host(&host.name)
        .and_then(|host| host.workers.as_ref());
    let ram = host.ram_gb();
    if servers * control_plane.ram_gb > ram {
        let least = (ram / servers.max(1)).max(1);
        failures.push(
            Failure::new(Code::HostUnfit, format!("{} has too little RAM", host.name))
                .because(format!(
                    "{servers} × {} GB for servers, {ram} GB in all",
                    control_plane.ram_gb
                ))
                .hint(format!(
                    "set `ram-gb = {least}` or `servers = 1` in [control-plane] of cluster.toml"
                )),
        );
    } else if let Some(workers) = workers.filter(|workers| workers.ram_gb > ram) {
        failures.push(
            Failure::new(Code::HostUnfit, format!("{} has too little RAM", host.name))
                .because(format!(
                    "{} GB for one agent, {ram} GB in all",
                    workers.ram_gb
                ))
                .hint(format!(
                    "set `workers = {{ ram-gb = {} }}` in [hosts.{}] of cluster.toml",
                    (ram / 2).max(1),
                    host.name
                )),
        );
    }
    // Where our VMs run already, they have taken their part of the disk.
    if decisions
        .groups
        .values()
        .any(|group| group.host == host.name)
    {
        return;
    }
    let vms = servers + workers.map_or(0, |workers| workers.min.max(1));
    let (needed, free) = (vms * LEAST_DISK_GB, host.disk_free_gb());
    if free < needed {
        failures.push(
            Failure::new(Code::HostUnfit, format!("{} has too little disk", host.name))
                .because(format!(
                    "{needed} GB are needed to begin with ({vms} × {LEAST_DISK_GB}), {free} GB are free where {ROOT} will be"
                ))
                .hint(format!("free some, or mount a disk; on {}: df -h /var/lib", host.name)),
        );
    }
}

/// Servers that a host is to run.
pub(super) fn servers_on(config: &Config, host: &str) -> u32 {
    let control_plane = &config.control_plane;
    match control_plane.hosts.iter().any(|name| name == host) {
        true if control_plane.hosts.len() > 1 => 1,
        true => control_plane.servers,
        false => 0,
    }
}

/// Pods must be able to reach the LAN: none of its addresses may look like a pod or service.
fn pods(config: &Config, host: &HostFacts, failures: &mut Failures) {
    for (key, net) in [
        ("cluster-cidr", config.k3s.cluster_cidr),
        ("service-cidr", config.k3s.service_cidr),
    ] {
        let seen = host
            .addresses
            .iter()
            .find(|(_, address)| overlap(address.trunc(), net));
        if let Some((interface, address)) = seen {
            failures.push(
                Failure::new(
                    Code::PlanConflict,
                    format!("k3s's {key} {net} overlaps {interface} of {}", host.name),
                )
                .because(format!("{} has the address {address}", host.name))
                .hint(format!("set another `{key}` in [k3s] of cluster.toml (or remove the k3s that runs on {} itself)", host.name)),
            );
        }
    }
}

/// A machine keeps the name it was enrolled under: its group and its routes go by it.
fn enrolled_otherwise(config: &Config, host: &HostFacts) -> Option<Failure> {
    let mark = host.mark(&config.name)?;
    let mark: serde_json::Value = serde_json::from_str(mark).ok()?;
    let name = mark["host"].as_str().filter(|name| *name != host.name)?;
    Some(
        Failure::new(
            Code::PlanConflict,
            format!("{} is enrolled already, under the name {name}", host.name),
        )
        .because(format!(
            "its mark {} says so",
            Mark::path(&config.name)
        ))
        .hint(format!(
            "call it [hosts.{name}] in cluster.toml; or slicer-k3s remove-host {name} first, then add it by its new name"
        )),
    )
}

/// Hosts of a cluster of this name that this workstation knows nothing of. Nothing else needs to be said then: all that is
/// taken on them is taken by the cluster itself.
pub(super) fn strangers(
    config: &Config,
    decisions: &Decisions,
    facts: &[HostFacts],
) -> Option<Failure> {
    let unknown = |host: &&HostFacts| {
        let ours = host.daemons.iter();
        let mut groups = ours
            .filter(|daemon| daemon.cluster() == Some(config.name.as_str()))
            .flat_map(|daemon| &daemon.groups);
        groups.any(|group| !decisions.groups.contains_key(group))
    };
    let hosts: Vec<&str> = facts
        .iter()
        .filter(unknown)
        .map(|host| host.name.as_str())
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let known = if decisions.groups.is_empty() {
        "has no record of"
    } else {
        "has another record of"
    };
    Some(
        Failure::new(
            Code::RecordConflict,
            format!(
                "{} run{} a cluster called {} already, which this workstation {known}",
                hosts.join(", "),
                if hosts.len() == 1 { "s" } else { "" },
                config.name
            ),
        )
        .because("its tokens and decisions lie in the state directory of the workstation that made it")
        .hint("slicer-k3s import gets them from the hosts; for another cluster, change `name` in cluster.toml"),
    )
}
