//! A plan for people: hosts, groups, reasons, at most 80 columns.

use super::{table, wrapped};
use crate::plan::{Plan, Role};

/// The plan as text.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let hosts: Vec<[String; 4]> = plan
        .hosts
        .iter()
        .map(|host| {
            let slicer = match (host.slicer_installed, &host.licence_file) {
                (false, _) => "not installed",
                (true, None) => "no licence found",
                (true, Some(_)) => "installed",
            };
            [
                host.name.clone(),
                host.lan_address.to_string(),
                host.arch.to_string(),
                slicer.to_owned(),
            ]
        })
        .collect();
    table(&mut text, ["HOST", "LAN ADDRESS", "ARCH", "SLICER"], &hosts);
    for (name, why) in &plan.absent {
        text.push_str(&wrapped(&format!("{name}  not there: {why}"), 2));
    }
    text.push('\n');
    let groups: Vec<[String; 6]> = plan
        .daemons
        .iter()
        .map(|daemon| {
            let vms = match daemon.role {
                Role::ControlPlane if daemon.count == 1 => "1 server".to_owned(),
                Role::ControlPlane => format!("{} servers", daemon.count),
                Role::Workers => format!("{}–{} agents", daemon.min, daemon.max),
            };
            [
                daemon.group.clone(),
                daemon.host.clone(),
                vms,
                format!("{} CPU {} GB", daemon.cpu, daemon.ram_gb),
                daemon.cidr.to_string(),
                format!("{}:{}", daemon.api_bind, daemon.api_port),
            ]
        })
        .collect();
    table(
        &mut text,
        ["GROUP", "HOST", "VMS", "EACH", "NETWORK", "API"],
        &groups,
    );
    text.push('\n');
    for (what, why) in &plan.reasons {
        text.push_str(&wrapped(&format!("{what}: {why}"), 2));
    }
    text
}
