//! Whether the daemons, decided or new, still agree with what is on the hosts now, and with each other.

use super::Daemon;
use super::pool::overlap;
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures};

/// Everything that clashes.
pub(super) fn check(daemons: &[Daemon], facts: &[HostFacts]) -> Failures {
    let mut failures = Vec::new();
    for (n, daemon) in daemons.iter().enumerate() {
        failures.extend(with_hosts(daemon, facts));
        for other in &daemons[..n] {
            failures.extend(with_daemon(daemon, other));
        }
    }
    failures
}

/// One failure, whoever has the network: a LAN's is on every host.
fn with_hosts(daemon: &Daemon, facts: &[HostFacts]) -> Option<Failure> {
    let causes: Vec<String> = facts
        .iter()
        .filter_map(|host| user_of(daemon, host))
        .collect();
    if causes.is_empty() {
        return None;
    }
    let what = format!(
        "network {} of group {} on {} is in use",
        daemon.cidr, daemon.group, daemon.host
    );
    Some(
        Failure::new(Code::PlanConflict, what)
            .because(causes.join("; "))
            .hint("choose another `cidr` in cluster.toml for a new group; for one that exists, change the other network"),
    )
}

/// Who on this host has the daemon's network.
fn user_of(daemon: &Daemon, host: &HostFacts) -> Option<String> {
    let own = |interface: &str| host.name == daemon.host && interface == daemon.bridge();
    let address = host
        .addresses
        .iter()
        .find(|(interface, net)| overlap(net.trunc(), daemon.cidr) && !own(interface))
        .map(|(interface, net)| format!("{interface} of {} has the address {net}", host.name));
    // A wider route is no clash: the narrower one wins. A narrower one takes VMs away.
    let route = host
        .routes
        .iter()
        .find(|route| daemon.cidr.contains(*route) && **route != daemon.cidr)
        .map(|route| format!("{} has a route to {route}", host.name));
    let foreign = host
        .daemons
        .iter()
        .filter(|found| !found.groups.contains(&daemon.group))
        .find(|found| {
            found
                .networks
                .iter()
                .any(|net| overlap(net.trunc(), daemon.cidr))
        })
        .map(|found| {
            format!(
                "the Slicer daemon of {} on {} has it",
                found.source, host.name
            )
        });
    address.or(foreign).or(route)
}

fn with_daemon(daemon: &Daemon, other: &Daemon) -> Option<Failure> {
    let same_host = daemon.host == other.host;
    let (a, b) = (&daemon.tap_prefix, &other.tap_prefix);
    let what = if daemon.group == other.group {
        format!("two groups are called {}", daemon.group)
    } else if overlap(daemon.cidr, other.cidr) {
        format!("networks {} and {} overlap", daemon.cidr, other.cidr)
    } else if same_host && daemon.api_port == other.api_port && daemon.carrier() != other.carrier()
    {
        format!("both have port {}", daemon.api_port)
    } else if same_host && (a.starts_with(b.as_str()) || b.starts_with(a.as_str())) {
        format!("tap prefixes {b} and {a} begin alike")
    } else {
        return None;
    };
    Some(
        Failure::new(
            Code::PlanConflict,
            format!(
                "groups {} on {} and {} on {} clash",
                other.group, other.host, daemon.group, daemon.host
            ),
        )
        .because(what)
        .hint("choose other values for one of them in cluster.toml"),
    )
}
