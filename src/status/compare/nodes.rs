//! VMs ↔ Nodes.

use serde_json::Value;

use super::{INIT, add, facts, versions};
use crate::agents;
use crate::agents::Now;
use crate::control_plane::Start;
use crate::facts::HostFacts;
use crate::kubernetes::condition;
use crate::names::autoscaler::{ABANDONED, GROUP_LABEL, VM_LABEL};
use crate::names::k3s::VOTES;
use crate::names::kubernetes::{READY, TRUE};
use crate::plan::{Daemon, Plan, Role, Server};
use crate::status::document::{Drift, Node};
use crate::status::gather::Observed;
use crate::vm::Vm;

/// Whether a VM was made so recently that it may still be joining, by its host's clock.
fn young(vm: &Vm, facts: &HostFacts) -> bool {
    agents::is_young(vm, clock(facts))
}

/// A host's time, in seconds since 1970.
pub(super) fn clock(facts: &HostFacts) -> i64 {
    i64::try_from(facts.clock).unwrap_or(i64::MAX)
}

/// Every Node, and servers without one; what differs between them and the VMs is added to `drift`.
pub(super) fn nodes(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) -> Vec<Node> {
    let listed: Vec<Node> = match &seen.cluster {
        Ok(cluster) => cluster.nodes.iter().map(|node| read(plan, node)).collect(),
        Err(_) => Vec::new(),
    };
    let mut all = servers(plan, seen, &listed, drift);
    all.extend(listed.iter().filter(|node| node.role != "server").cloned());
    if let Err(why) = &seen.cluster {
        if seen.servers.iter().any(|(_, ready)| ready.is_ok()) || plan.servers.is_empty() {
            add(
                drift,
                "kubernetes",
                "cluster",
                format!("its API does not answer: {why}"),
                INIT,
            );
        }
        return all;
    }
    for node in &listed {
        ready(plan, seen, node, drift);
    }
    for daemon in plan.workers() {
        without_node(plan, daemon, seen, drift);
    }
    all
}

/// A Node as Kubernetes lists it.
fn read(plan: &Plan, node: &Value) -> Node {
    let label = |name: &str| node["metadata"]["labels"][name].as_str().map(str::to_owned);
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let server = plan.servers.iter().find(|server| server.name == name);
    let group = label(GROUP_LABEL);
    let daemon = group.as_deref().and_then(|group| plan.daemon(group));
    let (role, group, host, vm) = match (server, daemon) {
        (Some(server), _) => (
            "server",
            Some(server.group.clone()),
            Some(server.host.clone()),
            Some(server.name.clone()),
        ),
        (None, Some(daemon)) => ("agent", group, Some(daemon.host.clone()), label(VM_LABEL)),
        (None, None) => ("foreign", group, None, label(VM_LABEL)),
    };
    Node {
        name: name.to_owned(),
        role,
        group,
        host,
        vm,
        ready: Some(condition(node, READY) == Some(TRUE)),
        cordoned: node["spec"]["unschedulable"] == true,
        version: node["status"]["nodeInfo"]["kubeletVersion"]
            .as_str()
            .map(str::to_owned),
        votes: server.map(|_| condition(node, VOTES) == Some(TRUE)),
    }
}

/// The VMs of a group, where its daemon told them.
pub(super) fn vms<'s>(seen: &'s Observed, group: &str) -> Option<&'s Vec<Vm>> {
    let found = seen.groups.iter().find(|(name, _)| name == group);
    found.and_then(|(_, vms)| vms.as_ref().ok())
}

/// The plan's servers: each needs a VM that runs, an API that is ready, a Node and a vote.
fn servers(plan: &Plan, seen: &Observed, listed: &[Node], drift: &mut Vec<Drift>) -> Vec<Node> {
    let mut all = Vec::new();
    for server in &plan.servers {
        let node = listed.iter().find(|node| node.name == server.name);
        all.push(node.cloned().unwrap_or_else(|| missing(server)));
        if facts(seen, &server.host).is_none() {
            continue;
        }
        let name = &server.name;
        if let Some(vms) = vms(seen, &server.group) {
            let vm = vms.iter().find(|vm| vm.hostname == *name);
            if let Some(what) = match vm {
                None => Some("its host has no such VM"),
                Some(vm) if !vm.runs() => Some("its VM does not run"),
                Some(_) => None,
            } {
                add(drift, "server-vm", name, what, INIT);
                continue;
            }
        }
        let control_plane = seen.control_plane.as_ref().ok();
        let returning = control_plane.map(|control_plane| control_plane.start(name));
        if let Some(Start::Join { via, .. }) = returning {
            let what = format!("it has no data; it can join {via}");
            add(drift, "server-data", name, what, INIT);
            continue;
        }
        let ready = seen.servers.iter().find(|(known, _)| known == name);
        if let Some((_, Err(why))) = ready {
            add(
                drift,
                "server-api",
                name,
                format!("its API is not ready: {why}"),
                INIT,
            );
            continue;
        }
        match node {
            None if seen.cluster.is_ok() => {
                add(
                    drift,
                    "server-node",
                    name,
                    "Kubernetes has no Node of it",
                    INIT,
                );
            }
            Some(node) if node.votes == Some(false) => {
                add(drift, "etcd-voter", name, "it does not vote in etcd", INIT);
            }
            _ => {}
        }
        versions::of_server(plan, seen, server, node, drift);
    }
    all
}

fn missing(server: &Server) -> Node {
    Node {
        name: server.name.clone(),
        role: "server",
        group: Some(server.group.clone()),
        host: Some(server.host.clone()),
        vm: Some(server.name.clone()),
        ready: None,
        cordoned: false,
        version: None,
        votes: None,
    }
}

/// A Node that is not Ready, or whose VM is gone.
fn ready(plan: &Plan, seen: &Observed, node: &Node, drift: &mut Vec<Drift>) {
    // A Node whose host is off follows from that.
    if node
        .host
        .as_deref()
        .is_some_and(|host| facts(seen, host).is_none())
    {
        return;
    }
    let group = node.group.as_deref();
    let workers = group
        .and_then(|group| plan.daemon(group))
        .filter(|daemon| daemon.role == Role::Workers);
    let its = workers.and_then(|daemon| Some((daemon, vms(seen, &daemon.group)?)));
    let vm = its.and_then(|(_, vms)| vms.iter().find(|vm| Some(&vm.hostname) == node.vm.as_ref()));
    let joining = vm
        .zip(workers.and_then(|daemon| facts(seen, &daemon.host)))
        .is_some_and(|(vm, facts)| young(vm, facts));
    if let (Some((daemon, _)), None) = (its, vm) {
        let what = format!("Node {} has no VM on {}", node.name, daemon.host);
        add(drift, "node-without-vm", &node.name, what, INIT);
    } else if node.ready == Some(false) && !joining {
        let unready_api = seen
            .servers
            .iter()
            .any(|(name, ready)| *name == node.name && ready.is_err());
        if !unready_api {
            // Why it is not, its own service tells; of a Node that is nobody's VM only Kubernetes can.
            let mend = match &node.vm {
                Some(vm) if node.role != "foreign" => format!("slicer-k3s logs {vm}"),
                _ => format!("slicer-k3s kubectl describe node {}", node.name),
            };
            add(
                drift,
                "node-not-ready",
                &node.name,
                format!("Node {} is not Ready", node.name),
                mend,
            );
        }
    }
}

/// The VMs of a worker group that have had the time to join and did not: the autoscaler never removes them. What is certain to be
/// ours `init` removes (`steps::group::parts::orphans`, by the same rule).
pub(super) fn never_joined<'s>(plan: &Plan, daemon: &Daemon, seen: &'s Observed) -> Vec<&'s Vm> {
    let (Some(host), Ok(cluster)) = (facts(seen, &daemon.host), &seen.cluster) else {
        return Vec::new();
    };
    let servers = plan.servers.iter();
    let servers: Vec<String> = servers.map(|server| server.name.clone()).collect();
    let now = clock(host);
    let vms = vms(seen, &daemon.group).map_or(&[][..], Vec::as_slice);
    let mut left = agents::without_node(&daemon.group, vms, &cluster.nodes);
    left.retain(|vm| match agents::age(vm, now) {
        Some(_) => cluster
            .clock
            .and_then(|servers_now| {
                let now = Now {
                    host: now,
                    servers: servers_now,
                };
                agents::had_time(vm, &servers, &cluster.nodes, now)
            })
            .is_some_and(|time| time >= ABANDONED),
        // No one will ever know: a person has to judge.
        None => true,
    });
    left
}

fn without_node(plan: &Plan, daemon: &Daemon, seen: &Observed, drift: &mut Vec<Drift>) {
    for vm in never_joined(plan, daemon, seen) {
        let mend = if daemon.adopted.is_none() && vm.created_at.is_some() {
            INIT.to_owned()
        } else {
            let (address, port) = daemon.local_api();
            format!(
                "on {}: sudo slicer vm delete {} {} --url http://{address}:{port}",
                daemon.host, vm.hostname, daemon.group
            )
        };
        let what = format!("VM {} of {} has no Node", vm.hostname, daemon.group);
        add(drift, "vm-without-node", &vm.hostname, what, mend);
    }
}
