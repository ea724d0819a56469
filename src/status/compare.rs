//! VMs ↔ Nodes ↔ cloud-config ↔ secret ↔ routes ↔ cluster.toml: pure.

mod certificates;
mod disks;
mod nodes;
mod pods;
pub(super) mod scaling;
mod surplus;
mod versions;

use std::collections::BTreeSet;

use super::changes::changes;
use super::document::{Capacity, ConfigProblem, Drift, Group, Host, HostState, Status, VERSION};
use super::gather::Observed;
use crate::facts::HostFacts;
use crate::pipeline::Finding;
use crate::plan;
use crate::plan::{Plan, Role};
use crate::step_id::{StepId, StepName};

/// What brings the cluster to cluster.toml again.
const INIT: &str = "slicer-k3s init";

/// Compares what was seen with the plan of the last run and with the next one's.
pub fn compare(plan: &Plan, seen: &Observed) -> Status {
    let mut drift = Vec::new();
    hosts_drift(plan, seen, &mut drift);
    disks::of_hosts(seen, &mut drift);
    if let Err(failure) = &seen.control_plane {
        let mend = failure.next().unwrap_or(INIT);
        let kind = failure.code.name();
        add(&mut drift, kind, "cluster", failure.to_string(), mend);
    }
    planned(plan, seen, &mut drift);
    versions::upgraded(plan, seen, &mut drift);
    let nodes = nodes::nodes(plan, seen, &mut drift);
    disks::of_nodes(plan, seen, &nodes, &mut drift);
    let mut remarks = surplus::surplus(plan, seen, &mut drift);
    certificates::expiring(seen, &nodes, &mut remarks, &mut drift);
    let skew = versions::skew(plan, seen, &nodes, &mut drift);
    pods::waiting(seen, &mut drift);
    steps(plan, seen, &mut drift);
    // After its cause.
    scaling::silent(plan, seen, &mut drift);
    if let Some(next) = &seen.rotation {
        let what = "the replacement of a token has not ended";
        add(&mut drift, "token-rotation", "cluster", what, next);
    }
    if let Some(failure) = &seen.elsewhere {
        // Judged by an older plan, all that is right looks wrong, and `init` would refuse to mend it.
        drift.retain(|drift| drift.kind == "host-unreachable");
        let mend = failure.next().unwrap_or(INIT);
        add(
            &mut drift,
            "elsewhere",
            "cluster",
            failure.to_string(),
            mend,
        );
    }
    let groups = groups(plan, seen);
    Status {
        version: VERSION,
        cluster: plan.cluster.clone(),
        k3s_version: plan.k3s.version.clone(),
        hosts: hosts(plan, seen),
        capacity: capacity(&groups),
        groups,
        nodes,
        skew,
        pods_pending: seen
            .cluster
            .as_ref()
            .ok()
            .map(|cluster| cluster.pending.len()),
        autoscaler_available: seen.cluster.as_ref().ok().and_then(|c| c.autoscaler),
        config_problems: seen.mistakes.iter().map(ConfigProblem::from).collect(),
        remarks,
        drift,
    }
}

fn add(
    drift: &mut Vec<Drift>,
    kind: &str,
    machine: &str,
    what: impl Into<String>,
    mend: impl Into<String>,
) {
    drift.push(Drift {
        kind: kind.to_owned(),
        machine: machine.to_owned(),
        what: what.into(),
        mend: mend.into(),
    });
}

/// The command that restarts a systemd unit on a machine of the cluster.
fn restart(machine: &str, unit: &str) -> String {
    let unit = unit.trim_end_matches(".service");
    format!("slicer-k3s exec {machine} -- systemctl restart {unit}")
}

fn facts<'s>(seen: &'s Observed, host: &str) -> Option<&'s HostFacts> {
    let found = seen.hosts.iter().find(|(name, _)| name == host);
    found.and_then(|(_, facts)| facts.as_ref().ok())
}

fn hosts(plan: &Plan, seen: &Observed) -> Vec<Host> {
    seen.hosts
        .iter()
        .map(|(name, facts)| {
            let state = facts
                .as_ref()
                .map_or_else(|why| why.state, |_| HostState::Answers);
            let facts = facts.as_ref().ok();
            Host {
                name: name.clone(),
                answers: facts.is_some(),
                state,
                address: plan.host(name).map(|host| host.lan_address),
                slicer: facts.and_then(|facts| facts.slicer.clone()),
                cores: facts.map(|facts| facts.cores),
                ram_gb: facts.map(crate::facts::HostFacts::ram_gb),
                disk_free_gb: facts.map(HostFacts::disk_free_gb),
            }
        })
        .collect()
}

fn groups(plan: &Plan, seen: &Observed) -> Vec<Group> {
    plan.daemons
        .iter()
        .map(|daemon| {
            let vms = seen.groups.iter().find(|(name, _)| *name == daemon.group);
            let vms = vms.and_then(|(_, vms)| vms.as_ref().ok()).map(Vec::len);
            let servers = daemon.role == Role::ControlPlane;
            Group {
                name: daemon.group.clone(),
                host: daemon.host.clone(),
                role: daemon.role,
                answers: vms.is_some(),
                vms,
                min: if servers { daemon.count } else { daemon.min },
                max: if servers { daemon.count } else { daemon.max },
                cpu: daemon.cpu,
                ram_gb: daemon.ram_gb,
            }
        })
        .collect()
}

fn capacity(groups: &[Group]) -> Capacity {
    let workers = groups.iter().filter(|group| group.role == Role::Workers);
    workers.fold(Capacity::default(), |sum, group| Capacity {
        agents: sum.agents + group.vms.unwrap_or(0),
        max_agents: sum.max_agents + group.max,
        max_cpu: sum.max_cpu + group.max * group.cpu,
        max_ram_gb: sum.max_ram_gb + group.max * group.ram_gb,
    })
}

/// Hosts that do not answer, that only cluster.toml or only the cluster has, or that moved.
fn hosts_drift(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) {
    for (name, facts) in &seen.hosts {
        if let Err(not_seen) = facts {
            let mend = not_seen.hint.clone().unwrap_or_else(|| {
                format!("switch {name} on, or correct `ssh` of [hosts.{name}] in cluster.toml")
            });
            let what = match not_seen.state {
                HostState::Off => format!("it does not answer: {}", not_seen.why),
                _ => format!("it cannot be looked at: {}", not_seen.why),
            };
            add(drift, "host-unreachable", name, what, mend);
        }
    }
    for host in &plan.hosts {
        if !seen.hosts.iter().any(|(name, _)| *name == host.name) {
            let mend = format!(
                "slicer-k3s remove-host {0}, or put [hosts.{0}] back into cluster.toml",
                host.name
            );
            add(
                drift,
                "host-not-in-config",
                &host.name,
                "it is in the cluster, and not in cluster.toml",
                mend,
            );
        }
        let now = seen
            .planned
            .as_ref()
            .ok()
            .and_then(|now| now.host(&host.name));
        if let Some(now) = now.filter(|now| now.behind != host.behind) {
            let place = |host: &plan::Host| match &host.behind {
                Some(behind) => format!("behind {}", behind.gateway),
                None => "on the LAN".to_owned(),
            };
            let what = format!(
                "it is {} and was {}: the other hosts' routes lead there",
                place(now),
                place(host)
            );
            add(drift, "lan-address", &host.name, what, INIT);
        } else if let Some(now) = now.filter(|now| now.lan_address != host.lan_address) {
            let what = format!(
                "its LAN address is {} and was {}: the other hosts' routes lead to the old one",
                now.lan_address, host.lan_address
            );
            add(drift, "lan-address", &host.name, what, INIT);
        }
    }
}

/// cluster.toml against the cluster.
fn planned(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) {
    match &seen.planned {
        Ok(now) => {
            for (machine, what) in changes(plan, now) {
                add(drift, "config", &machine, what, INIT);
            }
        }
        Err(failures) => {
            for failure in failures {
                let mend = failure.hint.clone().unwrap_or_else(|| INIT.to_owned());
                add(drift, "config", "cluster", failure.to_string(), mend);
            }
        }
    }
}

/// What steps found, causes only: what follows from a host that is off, a server that is down or a step that does not
/// hold would bury it.
fn steps(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) {
    let off = |host: &str| facts(seen, host).is_none();
    let mut broken: BTreeSet<StepId> = BTreeSet::new();
    for (server, ready) in &seen.servers {
        if ready.is_err() {
            for name in [
                StepName::VmReachable,
                StepName::K3sStarted,
                StepName::NodeReady,
            ] {
                broken.insert(name.on(server));
            }
        }
    }
    let down = |name: &str| {
        let mut servers = seen.servers.iter();
        servers.any(|(server, ready)| server == name && ready.is_err())
    };
    // Steps come after what they build on.
    for step in &seen.steps {
        let host = plan.host_of(&step.id.subject);
        let follows = host.is_some_and(off)
            || down(&step.id.subject)
            || step.builds_on.iter().any(|id| broken.contains(id))
            || (step.id.subject == "cluster" && seen.cluster.is_err());
        let (what, mend) = match &step.found {
            Ok(Finding::Done(_)) if !follows => continue,
            Ok(Finding::Done(_)) => (String::new(), String::new()),
            Ok(Finding::Differs(why) | Finding::Unknown(why)) => (why.clone(), INIT.to_owned()),
            Err(failure) => (
                failure.to_string(),
                failure.hint.clone().unwrap_or_else(|| step.hint.clone()),
            ),
        };
        broken.insert(step.id.clone());
        if !follows {
            let machine = host.unwrap_or("cluster");
            let about = if host == Some(step.id.subject.as_str()) || host.is_none() {
                String::new()
            } else {
                format!("{}: ", step.id.subject)
            };
            add(
                drift,
                step.id.name.name(),
                machine,
                format!("{about}{what}"),
                mend,
            );
        }
    }
}

#[cfg(test)]
mod tests;
