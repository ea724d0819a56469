//! Settings of servers that slicer-k3s decides itself: which of them a cluster cannot be taken over with, and which are left.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{Findings, servers};
use crate::config::own::SERVER_ARGS;
use crate::failure::{Code, Failure};
use crate::k3s::REGISTRIES_PATH;
use crate::slicer::ServerFacts;

/// Of [`SERVER_ARGS`] what import reads, and what each server has by its place in the plan.
const TAKEN: [&str; 10] = [
    "token",
    "agent-token",
    "server",
    "cluster-init",
    "secrets-encryption",
    "node-taint",
    "tls-san",
    "disable",
    "cluster-cidr",
    "service-cidr",
];

/// The network in a setting that takes several; `None` where it is not one of IPv4.
pub(super) fn network(value: &Value) -> Option<Ipv4Net> {
    let text = match value {
        Value::Array(several) => match several.as_slice() {
            [one] => one.as_str(),
            _ => None,
        },
        single => single.as_str(),
    };
    text?.parse().ok()
}

/// The refusal of the first setting with another value than every server of ours has: the next `init` would restart the servers
/// with that, beside Nodes and pods that go by the one before.
pub(super) fn refusal(told: &[(String, ServerFacts)]) -> Option<Failure> {
    const BESIDE: &str = "slicer-k3s init beside it makes a cluster of its own; see docs/guide.md";
    told.iter().find_map(|(name, facts)| {
        let config = servers::config(facts);
        let refused = |key: &str, why: &str, hint: &str| {
            let what = format!("{key} of {name} cannot be taken over");
            Some(
                Failure::new(Code::Import, what)
                    .because(why.to_owned())
                    .hint(hint.to_owned()),
            )
        };
        for key in ["cluster-cidr", "service-cidr"] {
            if !config[key].is_null() && network(&config[key]).is_none() {
                return refused(key, "it is not one IPv4 network", BESIDE);
            }
        }
        let has = |key: &str, usual: &str| config[key].is_null() || config[key] == usual;
        if !has("node-name", name) {
            let why = "its Node has another name than its VM";
            return refused("node-name", why, BESIDE);
        }
        if !has("private-registry", REGISTRIES_PATH) {
            let why = format!("it is not {REGISTRIES_PATH}");
            let hint = format!(
                "on {name}: move that file to {REGISTRIES_PATH}, take the setting away and restart k3s; then run again"
            );
            return refused("private-registry", &why, &hint);
        }
        None
    })
}

/// Settings that servers have otherwise than slicer-k3s writes them, with the reason why they are not taken over.
pub(super) fn left(findings: &Findings) -> BTreeSet<(&'static str, &'static str)> {
    let mut left = BTreeSet::new();
    for (name, facts) in &findings.servers {
        let config = servers::config(facts);
        let mut servers = findings.marked_servers();
        let address = servers.find(|server| server.name == *name);
        let address = address.map(|server| server.address.to_string());
        for (key, why) in SERVER_ARGS {
            let value = &config[key];
            let ours = match key {
                "node-name" => value == name,
                "node-ip" => address.as_ref().is_some_and(|address| value == address),
                "private-registry" => value == REGISTRIES_PATH,
                "write-kubeconfig-mode" => value == "0600",
                _ => TAKEN.contains(&key),
            };
            if !ours && !value.is_null() {
                left.insert((key, why));
            }
        }
    }
    left
}
