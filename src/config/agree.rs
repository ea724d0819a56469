//! Whether single values that are right by themselves agree with each other.

use std::collections::HashMap;
use std::hash::Hash;

use ipnet::Ipv4Net;

use super::own::refused;
use super::problem::Problems;
use super::walk::Values;
use super::{Config, Host, Ssh, keys};
use crate::suggest;

/// Flags of the autoscaler that the plan decides.
const OWN_AUTOSCALER_ARGS: [(&str, &str); 6] = [
    ("cloud-provider", "always slicer"),
    ("cloud-config", "written by slicer-k3s"),
    ("namespace", "decided by slicer-k3s"),
    ("nodes", "decided by the plan"),
    ("kubeconfig", "the autoscaler runs in the cluster"),
    ("expander", "written as autoscaler.expander"),
];

/// The chart writes `--KEY=VALUE` for each, a list in one piece, and leaves off what follows an underscore in the key
/// (kubernetes/autoscaler@55c37cd5 charts/cluster-autoscaler/templates/deployment.yaml).
const ONE_VALUE: &str = "a flag has one value; for a flag that is given more than once, append _1, _2 and so on to the key";

/// A flag of the autoscaler is one word of its command line.
const ONE_LINE: &str = "a flag's value is one line without control characters";

/// What k3s's registries.yaml holds.
const REGISTRIES: [&str; 2] = ["mirrors", "configs"];

/// Adds what does not agree.
pub(super) fn check(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    if !config.hosts.is_empty() {
        servers(config, values, problems);
    }
    workers(config, values, problems);
    networks(config, values, problems);
    twice(config, values, problems);
    ports(config, values, problems);
    versions(config, values, problems);
    owned(config, values, problems);
}

fn servers(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    let control_plane = &config.control_plane;
    let (place, count) = (
        values.place("control-plane.hosts"),
        control_plane.hosts.len(),
    );
    let names: Vec<&str> = config.hosts.iter().map(|host| host.name.as_str()).collect();
    for host in &control_plane.hosts {
        if config.host(host).is_some() {
            continue;
        }
        let hint = match suggest::nearest(host, &names) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!("known hosts: {}", names.join(", ")),
        };
        let key = if values.has("control-plane.host") {
            "control-plane.host"
        } else {
            "control-plane.hosts"
        };
        problems.add_with_hint(
            values.place(key),
            format!("there is no [hosts.{host}]"),
            hint,
        );
    }
    if count == 0 {
        problems.add(place, "`control-plane.hosts` is empty");
    }
    if !matches!(control_plane.servers, 1 | 3 | 5) {
        let (at, why) = if values.has("control-plane.servers") {
            (
                values.place("control-plane.servers"),
                "`control-plane.servers`",
            )
        } else {
            (place, "the number of `control-plane.hosts`")
        };
        problems.add_with_hint(
            at,
            format!("{why} must be 1, 3 or 5, not {}", control_plane.servers),
            "an even number of servers survives no more losses than one fewer",
        );
    } else if count > 1 && u32::try_from(count) != Ok(control_plane.servers) {
        problems.add_with_hint(
            place,
            format!(
                "{} servers do not spread evenly over {count} hosts",
                control_plane.servers
            ),
            "name one host for all servers, or as many hosts as servers",
        );
    }
    if count > 1 {
        if control_plane.cidr.is_some() {
            problems.add_with_hint(
                values.place("control-plane.cidr"),
                "one network cannot serve servers on several hosts",
                "leave `cidr` out: every host gets its own",
            );
        }
        let longest = keys::GROUP_LENGTH - 2;
        if control_plane.group.len() > longest {
            problems.add(
                values.place("control-plane.group"),
                format!("`control-plane.group` may have {longest} characters where servers are spread: each host's group gets `-a`, `-b` and so on"),
            );
        }
    }
}

fn workers(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    for host in &config.hosts {
        if host.share_daemon {
            shared(config, values, problems, host);
        }
        let Some(workers) = &host.workers else {
            continue;
        };
        if workers.max.is_some_and(|max| max < workers.min) {
            let path = format!("hosts.{}.workers.min", host.name);
            problems.add(values.place(&path), format!("`{path}` is more than `max`"));
        }
        let path = format!("hosts.{}.workers.priority", host.name);
        if values.has(&path) && config.autoscaler.expander != keys::PRIORITY {
            problems.add_with_hint(
                values.place(&path),
                format!(
                    "`{path}` says nothing to the expander `{}`",
                    config.autoscaler.expander
                ),
                "set `expander = \"priority\"` in [autoscaler]",
            );
        }
    }
}

/// One daemon for two groups needs both, and has one API.
fn shared(config: &Config, values: &Values, problems: &mut Problems<'_>, host: &Host) {
    let path = format!("hosts.{}.share-daemon", host.name);
    let mut servers = config.control_plane.hosts.iter();
    if !servers.any(|name| *name == host.name) {
        problems.add(
            values.place(&path),
            format!("`{path}` says nothing: {} runs no servers", host.name),
        );
    }
    let port = format!("hosts.{}.workers.api-port", host.name);
    if values.has(&port) {
        problems.add_with_hint(
            values.place(&port),
            format!("`{port}` says nothing: the daemon is that of the servers"),
            "set `api-port` in [control-plane]",
        );
    }
}

/// Everything that must not overlap, with its path.
fn networks(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    let mut seen: Vec<(String, Ipv4Net)> = Vec::new();
    let k3s = [
        ("k3s.cluster-cidr", config.k3s.cluster_cidr),
        ("k3s.service-cidr", config.k3s.service_cidr),
    ];
    let k3s = k3s.into_iter().filter(|(path, _)| !values.is_wrong(path));
    let k3s = k3s.map(|(path, net)| (path.to_owned(), net));
    let groups = config
        .control_plane
        .cidr
        .map(|cidr| ("control-plane.cidr".to_owned(), cidr));
    let workers = config.hosts.iter().filter_map(|host| {
        let cidr = host.workers.as_ref()?.cidr?;
        Some((format!("hosts.{}.workers.cidr", host.name), cidr))
    });
    for (path, cidr) in k3s.chain(groups).chain(workers) {
        if let Some((other, net)) = seen.iter().find(|(_, net)| overlap(*net, cidr)) {
            problems.add(
                values.place(&path),
                format!("`{path}` overlaps `{other}` ({net})"),
            );
        }
        for host in &config.hosts {
            if host
                .lan_address
                .is_some_and(|address| cidr.contains(&address))
            {
                problems.add(
                    values.place(&path),
                    format!("`{path}` holds the LAN address of {}", host.name),
                );
            }
        }
        seen.push((path, cidr));
    }
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// Hosts and groups that are named twice in another guise.
fn twice(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    let mut machines = HashMap::new();
    let mut addresses = HashMap::new();
    let mut groups = HashMap::new();
    let mut note = |problem: Option<(String, String)>| {
        if let Some((path, message)) = problem {
            problems.add(values.place(&path), message);
        }
    };
    for (_, name) in config.control_plane.groups() {
        note(again(
            &mut groups,
            name,
            "control-plane.group".to_owned(),
            "group",
        ));
    }
    for host in &config.hosts {
        let path = |key: &str| format!("hosts.{}.{key}", host.name);
        let machine = match &host.ssh {
            Ssh::Local => "this machine".to_owned(),
            // Another user on the same machine is the same machine.
            Ssh::Target(target) => format!(
                "{} port {} through {}",
                target.rsplit('@').next().unwrap_or(target).to_lowercase(),
                host.port.unwrap_or(22),
                host.jump.as_deref().unwrap_or("nothing")
            ),
        };
        note(again(&mut machines, machine, path("ssh"), "machine"));
        if let Some(address) = host.lan_address {
            note(again(
                &mut addresses,
                address,
                path("lan-address"),
                "address",
            ));
        }
        if let Some(group) = host
            .workers
            .as_ref()
            .and_then(|workers| workers.group.clone())
        {
            note(again(&mut groups, group, path("workers.group"), "group"));
        }
    }
}

fn again<K: Hash + Eq>(
    seen: &mut HashMap<K, String>,
    key: K,
    path: String,
    what: &str,
) -> Option<(String, String)> {
    if let Some(first) = seen.get(&key) {
        let message = format!("`{path}` is the same {what} as `{first}`");
        return Some((path, message));
    }
    seen.insert(key, path);
    None
}

/// Two daemons on one host need two ports.
fn ports(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    let Some(port) = config.control_plane.api_port else {
        return;
    };
    for name in &config.control_plane.hosts {
        let workers = config.host(name).and_then(|host| host.workers.as_ref());
        if workers.is_some_and(|workers| workers.api_port == Some(port)) {
            let path = format!("hosts.{name}.workers.api-port");
            problems.add(
                values.place(&path),
                format!("`{path}` is the same port as `control-plane.api-port`"),
            );
        }
    }
}

fn versions(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    if config.k3s.version.is_some() && values.has("k3s.channel") {
        problems.add(
            values.place("k3s.channel"),
            "`k3s.version` and `k3s.channel` are both given: one of them is enough",
        );
    }
}

fn owned(config: &Config, values: &Values, problems: &mut Problems<'_>) {
    let mut complain = |section: &str, key: &str, why: &str| {
        problems.add(
            values.place(section),
            format!("`{section}.{key}` cannot be set here: {why}"),
        );
    };
    for (key, why) in refused(&config.k3s.server_args) {
        complain("k3s.server-args", key, why);
    }
    for key in config.k3s.registries.keys() {
        if !REGISTRIES.contains(&key.as_str()) {
            complain(
                "k3s.registries",
                key,
                "registries.yaml has `mirrors` and `configs`",
            );
        }
    }
    for (key, why) in OWN_AUTOSCALER_ARGS {
        if config.autoscaler.args.contains_key(key) {
            complain("autoscaler.args", key, why);
        }
    }
    for (key, value) in &config.autoscaler.args {
        if value.is_array() || value.is_object() {
            complain("autoscaler.args", key, ONE_VALUE);
        }
        let broken = |text: &str| text.chars().any(char::is_control);
        if broken(key) || value.as_str().is_some_and(broken) {
            complain("autoscaler.args", key, ONE_LINE);
        }
    }
}
