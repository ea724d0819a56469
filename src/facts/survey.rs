//! Reads the survey's text: lenient and bounded, because it comes from a machine.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::{Arch, FoundDaemon, HostFacts, host_yaml};
use crate::failure::{Code, Failure, Result};

/// Most entries kept of any list.
const MOST: usize = 4096;

/// Most characters kept of a text that is shown to people.
const SHOWN: usize = 80;

impl HostFacts {
    /// Reads what `Probe::Survey` printed on host `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let sections = sections(text);
        let missing = |what: &str| {
            Failure::new(Code::HostUnfit, format!("cannot tell {what} of {name}"))
                .because("its survey does not say")
                .hint(format!(
                    "log in to {name} and check that it is a Linux machine with iproute2"
                ))
        };
        let first = |label: &str| first(&sections, label);
        if first("end").is_none() && !text.lines().any(|line| line == "== end") {
            return Err(missing("everything").because("its survey broke off"));
        }
        let arch = first("arch").unwrap_or_default();
        let arch = Arch::from_word(arch).ok_or_else(|| {
            Failure::new(
                Code::HostUnfit,
                format!("{name} has an architecture that Slicer has no images for"),
            )
            .because(shown(arch))
            .hint("use an x86_64 or a 64-bit Arm machine")
        })?;
        let ram_kib = number(first("memory").ok_or_else(|| missing("the RAM"))?);
        let cores = number(first("cores").ok_or_else(|| missing("the cores"))?);
        // df -P: the fourth column is what is free, in KiB.
        let free_kib = first("disk")
            .and_then(|line| line.split_whitespace().nth(3))
            .map_or(0, number);
        let addresses = addresses(body(&sections, "addresses"));
        if addresses.is_empty() {
            return Err(missing("the addresses"));
        }
        let (routes, default_interface) = routes(body(&sections, "routes"));
        let daemons = daemons(&sections);
        let licence_file = first("licences")
            .map(str::to_owned)
            .or_else(|| {
                daemons
                    .iter()
                    .find_map(|daemon| daemon.licence_file.clone())
            })
            .filter(|path| crate::config::is_plain_path(path));
        // A running daemon is found twice: as a unit and as a process.
        let foreign_groups: BTreeSet<String> = daemons
            .iter()
            .filter(|daemon| daemon.cluster().is_none())
            .flat_map(|daemon| daemon.groups.clone())
            .collect();
        Ok(Self {
            name: name.to_owned(),
            hostname: shown(first("hostname").unwrap_or_default()),
            arch,
            model: shown(first("model").unwrap_or("unknown model")),
            os: shown(first("os").unwrap_or("unknown system").trim_matches('"')),
            cores: u32::try_from(cores).unwrap_or(1).max(1),
            ram_bytes: ram_kib.saturating_mul(1024),
            disk_free_bytes: free_kib.saturating_mul(1024),
            kvm: first("kvm") == Some("yes"),
            systemd: first("systemd") == Some("yes"),
            lacks: lines(body(&sections, "lacks")).map(shown).collect(),
            forwarding: first("forwarding") == Some("1"),
            addresses,
            routes,
            default_interface,
            ports: lines(body(&sections, "ports"))
                .filter_map(|port| u16::from_str_radix(port, 16).ok())
                .collect(),
            interfaces: lines(body(&sections, "interfaces")).map(shown).collect(),
            slicer: first("slicer").map(|_| version(body(&sections, "slicer"))),
            licence_file,
            daemons,
            foreign_groups: foreign_groups.into_iter().collect(),
            marks: marks(&sections),
            // "client-address client-port server-address server-port"
            ssh_address: first("ssh")
                .and_then(|line| line.split_whitespace().nth(2))
                .and_then(|address| address.parse().ok()),
            identity: shown(
                &lines(body(&sections, "identity"))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
            clock: first("clock").map_or(0, number),
        })
    }
}

/// Sections in order: label and content, the content's leading blanks taken away.
fn sections(text: &str) -> Vec<(&str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        if let Some(label) = line.strip_prefix("== ") {
            if sections.len() == MOST {
                break;
            }
            sections.push((label.trim(), String::new()));
        } else if let (Some((_, content)), Some(line)) =
            (sections.last_mut(), line.strip_prefix(' '))
        {
            content.push_str(line);
            content.push('\n');
        }
    }
    sections
}

fn body<'a>(sections: &'a [(&str, String)], label: &str) -> &'a str {
    sections
        .iter()
        .find(|(name, _)| *name == label)
        .map_or("", |(_, content)| content)
}

fn lines(content: &str) -> impl Iterator<Item = &str> {
    content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(MOST)
}

fn first<'a>(sections: &'a [(&str, String)], label: &str) -> Option<&'a str> {
    lines(body(sections, label)).next()
}

/// The number that a text begins with, else 0.
fn number(text: &str) -> u64 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// A text that may be shown: one short line.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

/// A path, whole; one that is longer than any path is none.
fn path(content: &str) -> String {
    let line = lines(content).next().unwrap_or_default();
    let whole = line.len() <= 4096 && !line.contains(char::is_control);
    if whole {
        line.to_owned()
    } else {
        String::new()
    }
}

/// The first word that looks like a version, else the first line.
fn version(text: &str) -> String {
    let is_version = |word: &&str| {
        let word = word.trim_start_matches('v');
        word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')
    };
    text.split_whitespace()
        .find(is_version)
        .or_else(|| lines(text).next())
        .map(shown)
        .unwrap_or_default()
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<std::net::Ipv4Addr>,
    #[serde(default)]
    prefixlen: u8,
}

fn addresses(json: &str) -> Vec<(String, Ipv4Net)> {
    let links: Vec<Link> = serde_json::from_str(json).unwrap_or_default();
    links
        .into_iter()
        .flat_map(|link| {
            let name = shown(&link.ifname);
            link.addr_info.into_iter().filter_map(move |address| {
                let net = Ipv4Net::new(address.local?, address.prefixlen).ok()?;
                (!net.addr().is_loopback()).then(|| (name.clone(), net))
            })
        })
        .take(MOST)
        .collect()
}

#[derive(Deserialize)]
struct Route {
    #[serde(default)]
    dst: String,
    dev: Option<String>,
}

fn routes(json: &str) -> (Vec<Ipv4Net>, Option<String>) {
    let routes: Vec<Route> = serde_json::from_str(json).unwrap_or_default();
    let default = routes
        .iter()
        .find(|route| route.dst == "default")
        .and_then(|route| route.dev.as_deref().map(shown));
    let others = routes
        .iter()
        .filter_map(|route| {
            let net = route.dst.parse::<Ipv4Net>().ok();
            let net =
                net.or_else(|| Some(Ipv4Net::from(route.dst.parse::<std::net::Ipv4Addr>().ok()?)));
            net.filter(|net| net.prefix_len() > 0)
        })
        .take(MOST)
        .collect();
    (others, default)
}

fn marks(sections: &[(&str, String)]) -> Vec<(String, String)> {
    let mut marks = Vec::new();
    let mut name = None;
    for (label, content) in sections {
        match *label {
            "mark-name" => name = lines(content).next().map(shown),
            "mark" => marks.extend(name.take().map(|name| (name, content.clone()))),
            _ => {}
        }
    }
    marks
}

fn daemons(sections: &[(&str, String)]) -> Vec<FoundDaemon> {
    let mut daemons: Vec<FoundDaemon> = Vec::new();
    for (label, content) in sections {
        let line = || lines(content).next().map(shown);
        match (*label, daemons.last_mut()) {
            ("daemon", _) => daemons.push(FoundDaemon {
                source: line().unwrap_or_default(),
                ..FoundDaemon::default()
            }),
            ("daemon-directory", Some(daemon)) => daemon.directory = path(content),
            ("daemon-config", Some(daemon)) => daemon.config = path(content),
            ("daemon-licence", Some(daemon)) => daemon.licence_file = line(),
            ("daemon-yaml", Some(daemon)) => host_yaml::read_yaml(daemon, content),
            _ => {}
        }
    }
    daemons
}
