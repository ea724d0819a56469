//! What `slicer up` prints: the same facts in the same order as the original, in words of its own.

use super::{
    group::Group,
    record::Record,
    settings::{Listen, Settings},
};
use crate::{
    host::{Places, licence::Licence},
    version,
};

/// The first line: who is licensed, for what, for how long.
pub(crate) fn licence(licence: &Licence) -> String {
    format!(
        "Slicer licensed to: {} ({}) expires: {} days       Version: {}",
        licence.name,
        licence.tier,
        licence.days_left(),
        version::LONG
    )
}

/// What is said of a group's network.
pub(crate) fn pool(group: &Group) -> String {
    format!(
        "Creating network pool for host group {} with gateway {} ({} {})",
        group.name,
        group.gateway,
        group.cidr().network(),
        group.cidr()
    )
}

/// The commands by which other machines reach the groups' VMs.
pub(crate) fn routes(settings: &Settings, host: &str, os: Option<&str>) -> String {
    let mut lines = Vec::new();
    let cidrs = || settings.groups.iter().map(Group::cidr);
    if os.is_none_or(|os| os == "linux") {
        lines.push("# Linux".to_owned());
        for cidr in cidrs() {
            lines.push(format!("sudo ip route delete {cidr} &> /dev/null"));
            lines.push(format!("sudo ip route add {cidr} via {host}"));
        }
    }
    if os.is_none() {
        lines.push(String::new());
    }
    if os.is_none_or(|os| os == "darwin") {
        lines.push("# MacOS".to_owned());
        for cidr in cidrs() {
            lines.push(format!("sudo route delete {cidr} &> /dev/null"));
            lines.push(format!("sudo route -n add -net {cidr} {host}"));
        }
    }
    lines.join("\n")
}

/// What is said of a fixed VM before it is launched.
pub(crate) fn launching(record: &Record) -> String {
    format!(
        "Launching: {}  {}GB     {} vCPU",
        record.hostname,
        record.ram_bytes >> 30,
        record.cpus
    )
}

/// Where the API is, and how to speak to it.
pub(crate) fn api(settings: &Settings, places: &Places) -> Vec<String> {
    let (place, url) = match &settings.listen {
        None => return vec!["API is disabled".to_owned()],
        Some(Listen::Tcp(address, port)) => (
            format!("API listening on: {address}:{port}"),
            format!("http://{address}:{port}/nodes"),
        ),
        Some(Listen::Socket(path)) => (
            format!("API listening on Unix socket: {}", path.display()),
            format!("--unix-socket {} http://localhost/nodes", path.display()),
        ),
    };
    let mut lines = vec![place];
    if settings.auth {
        let token = places.token();
        lines.push("🔐 API authentication ENABLED".to_owned());
        lines.push(format!("Auth token location: {}", token.display()));
        lines.push(format!(
            "curl -H \"Authorization: Bearer $(sudo cat {})\" {url}",
            token.display()
        ));
    } else {
        lines.push("API authentication DISABLED".to_owned());
        lines.push(format!("curl {url}"));
    }
    lines
}
