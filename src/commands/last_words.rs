//! What a person wants to know when `init` is done: what exists, where the files are, what to type next.

use std::fmt::Write as _;

use super::act;
use super::context::StateDir;
use crate::pipeline::Ended;
use crate::plan::Plan;
use crate::report::headed;
use crate::step_id::StepName;

/// The last words of a good run.
pub(super) fn after_init(plan: &Plan, home: &StateDir, ended: &[Ended]) -> String {
    if !act::changed(ended) {
        return format!(
            "Nothing to change: {} is as cluster.toml says.",
            plan.cluster
        );
    }
    let groups: Vec<String> = plan
        .workers()
        .map(|daemon| {
            format!(
                "{} on {} ({} to {} VMs)",
                daemon.group, daemon.host, daemon.min, daemon.max
            )
        })
        .collect();
    let servers: Vec<String> = plan
        .servers
        .iter()
        .map(|server| format!("{} {}", server.name, server.address))
        .collect();
    let routes: Vec<String> = plan
        .daemons
        .iter()
        .filter(|daemon| {
            plan.servers
                .iter()
                .any(|server| server.group == daemon.group)
        })
        .filter_map(|daemon| {
            let via = plan.via(None, &daemon.host)?;
            Some(format!("sudo ip route replace {} via {via}", daemon.cidr))
        })
        .collect();
    let kubeconfig = home.kubeconfig().display().to_string();
    let state = format!(
        "{} (keep a copy: it holds the join tokens)",
        home.state_file().display()
    );
    let mut text = format!("\n{} is up.\n", plan.cluster);
    for (key, value) in [
        ("servers", &servers.join(", ")),
        ("workers", &groups.join(", ")),
        ("k3s", &plan.k3s.version),
        ("kubeconfig", &kubeconfig),
        ("state", &state),
    ] {
        if !value.is_empty() {
            text += &headed(&format!("  {key:<10}  "), value);
        }
    }
    text += "Next:\n";
    let mut next = vec![("see its nodes", "slicer-k3s kubectl get nodes".to_owned())];
    // Where `--workstation-route` was asked for, that is done.
    if !ended
        .iter()
        .any(|step| step.id.name == StepName::WorkstationRoute)
    {
        next.push(("for own kubectl", routes.join("; ")));
    }
    if !groups.is_empty() {
        next.push(("prove it again", "slicer-k3s prove".to_owned()));
    }
    let more = "slicer-k3s add-host NAME --ssh USER@ADDRESS".to_owned();
    next.push(("another host", more));
    for (what, command) in next {
        // The command comes last: however long it is, it can be copied.
        let _ = writeln!(text, "  {what:<15}  {command}");
    }
    text.trim_end().to_owned()
}
