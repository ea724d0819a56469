//! The picture for people, at most 80 columns.

use std::fmt::Write as _;

use super::compare::scaling;
use super::document::{ALLOWED_SKEW, HostState, Node, Status};
use crate::escape::escape;
use crate::plan::Role;
use crate::report::{headed, table, wrapped};

/// The whole picture.
pub fn render(status: &Status) -> String {
    let mut text = summary(status);
    text.push('\n');
    hosts(&mut text, status);
    text.push('\n');
    groups(&mut text, status);
    text.push('\n');
    nodes(&mut text, status);
    text.push('\n');
    drift(&mut text, status);
    text
}

fn count(part: usize, all: usize, what: &str) -> String {
    format!("{part} of {all} {what}")
}

fn summary(status: &Status) -> String {
    let answer = status.hosts.iter().filter(|host| host.answers).count();
    let servers = status.nodes.iter().filter(|node| node.role == "server");
    let ready = servers
        .clone()
        .filter(|node| node.ready == Some(true))
        .count();
    let pending = match status.pods_pending {
        None => "pods unknown".to_owned(),
        Some(1) => "1 pod pending".to_owned(),
        Some(count) => format!("{count} pods pending"),
    };
    let mut drift = status.drift.iter();
    let silent = drift.any(|drift| drift.kind == scaling::KIND);
    let autoscaler = match status.autoscaler_available {
        Some(true) if silent => "autoscaler runs, scaling may stop",
        Some(true) => "autoscaler runs",
        Some(false) => "autoscaler does not run",
        None => "no autoscaler seen",
    };
    let capacity = status.capacity;
    let agents = format!(
        "{} of {} agents (at most {} CPU, {} GB)",
        capacity.agents, capacity.max_agents, capacity.max_cpu, capacity.max_ram_gb
    );
    let parts = [
        status.cluster.clone(),
        format!("k3s {}", status.k3s_version),
        count(answer, status.hosts.len(), "hosts"),
        count(ready, servers.count(), "servers Ready"),
        agents,
        pending,
        autoscaler.to_owned(),
    ];
    wrapped(&parts.join(", "), 2)
}

/// A number with its unit, or that it is not known.
fn with_unit(number: Option<impl std::fmt::Display>, unit: &str) -> String {
    number.map_or_else(|| "?".to_owned(), |number| format!("{number}{unit}"))
}

fn host_state(state: HostState) -> &'static str {
    match state {
        HostState::Answers => "answers",
        HostState::NeedsSudo => "needs sudo",
        HostState::Refuses => "refuses",
        HostState::Silent => "SILENT",
        HostState::Untried => "UNTRIED",
        HostState::Off => "OFF",
    }
}

fn hosts(text: &mut String, status: &Status) {
    let rows: Vec<[String; 7]> = status
        .hosts
        .iter()
        .map(|host| {
            [
                host.name.clone(),
                host_state(host.state).to_owned(),
                with_unit(host.address, ""),
                with_unit(host.slicer.as_deref(), ""),
                with_unit(host.cores, ""),
                with_unit(host.ram_gb, " GB"),
                with_unit(host.disk_free_gb, " GB"),
            ]
        })
        .collect();
    let head = [
        "HOST",
        "STATE",
        "ADDRESS",
        "SLICER",
        "CORES",
        "RAM",
        "DISK FREE",
    ];
    table(text, head, &rows);
}

fn groups(text: &mut String, status: &Status) {
    let rows: Vec<[String; 6]> = status
        .groups
        .iter()
        .map(|group| {
            let vms = with_unit(group.vms, "");
            [
                group.name.clone(),
                group.host.clone(),
                match group.role {
                    Role::ControlPlane => "servers",
                    Role::Workers => "agents",
                }
                .to_owned(),
                match group.role {
                    Role::ControlPlane => format!("{vms} of {}", group.max),
                    Role::Workers => format!("{vms} of {}–{}", group.min, group.max),
                },
                format!("{} CPU {} GB", group.cpu, group.ram_gb),
                if group.answers { "answers" } else { "SILENT" }.to_owned(),
            ]
        })
        .collect();
    let head = ["GROUP", "HOST", "ROLE", "VMS", "EACH", "DAEMON"];
    table(text, head, &rows);
}

fn state(node: &Node) -> String {
    let ready = match node.ready {
        Some(true) => "Ready",
        Some(false) => "NOT READY",
        None => "UNSEEN",
    };
    let votes = match node.votes {
        Some(true) => ", votes",
        Some(false) => ", NO VOTE",
        None => "",
    };
    let cordoned = if node.cordoned { ", cordoned" } else { "" };
    format!("{ready}{votes}{cordoned}")
}

fn nodes(text: &mut String, status: &Status) {
    let rows: Vec<[String; 5]> = status
        .nodes
        .iter()
        .map(|node| {
            [
                node.name.clone(),
                node.role.to_owned(),
                node.host.clone().unwrap_or_else(|| "?".to_owned()),
                state(node),
                with_unit(node.version.as_deref(), ""),
            ]
        })
        .collect();
    table(text, ["NODE", "ROLE", "HOST", "STATE", "VERSION"], &rows);
    let skew = &status.skew;
    if let (true, Some(oldest), Some(left)) = (skew.behind, &skew.oldest_agent, skew.minors_left) {
        let line = format!(
            "Agents may be {ALLOWED_SKEW} minor versions older than servers; {oldest} is the oldest, and {} left.",
            match left {
                1 => "1 is".to_owned(),
                left => format!("{} are", left.max(0)),
            }
        );
        text.push_str(&wrapped(&line, 2));
    }
}

fn drift(text: &mut String, status: &Status) {
    for remark in &status.remarks {
        let line = format!("note: {}: {}", remark.machine, remark.what);
        text.push_str(&wrapped(&line, 2));
    }
    if let Some(first) = status.config_problems.first() {
        let mistakes = match status.config_problems.len() {
            1 => "1 mistake".to_owned(),
            count => format!("{count} mistakes"),
        };
        let line = format!(
            "{mistakes} in {}: this goes by what the last run read.",
            first.file
        );
        text.push_str(&wrapped(&line, 2));
    }
    if status.drift.is_empty() {
        text.push_str(if status.config_problems.is_empty() {
            "No drift: VMs, Nodes, cloud-config, tokens and routes are as cluster.toml says.\n"
        } else {
            "No drift: VMs, Nodes, cloud-config, tokens and routes match the last run.\n"
        });
        return;
    }
    let _ = match status.drift.len() {
        1 => writeln!(text, "1 thing is not as it should be:"),
        count => writeln!(text, "{count} things are not as they should be:"),
    };
    for drift in &status.drift {
        text.push_str(&wrapped(&format!("! {}: {}", drift.machine, drift.what), 2));
        let mut lines = drift.mend.lines();
        let first = lines.next().unwrap_or_default();
        text.push_str(&headed("  → ", first));
        // Commands, to be copied as they are.
        for command in lines {
            let _ = writeln!(text, "    {}", escape(command));
        }
    }
}
