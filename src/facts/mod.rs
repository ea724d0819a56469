//! What was found on a host, read from the survey's labelled sections.

mod host_yaml;
mod survey;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::names::ours::ROOT;

/// Processor architecture, normalised from both spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// `x86_64`, `amd64`.
    X86_64,
    /// `aarch64`, `arm64`.
    Aarch64,
}

impl Arch {
    /// The architecture that a machine's or Slicer's word means.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "x86_64" | "amd64" => Some(Self::X86_64),
            "aarch64" | "arm64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// The image of Slicer's that boots on it with what Kubernetes needs in its kernel.
    ///
    /// Source: slicervm/docs.slicervm.com@05085f9 docs/reference/images.md ("Table of image tags", Ubuntu 22.04 with kernel 6.1);
    /// a wrong architecture hangs or panics at boot.
    pub fn image(self) -> &'static str {
        match self {
            Self::X86_64 => "ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest",
            Self::Aarch64 => "ghcr.io/openfaasltd/slicer-systemd-arm64:6.1.90-aarch64-latest",
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// A host as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name in cluster.toml.
    pub name: String,
    /// What it calls itself.
    pub hostname: String,
    /// Processor architecture.
    pub arch: Arch,
    /// Model, for people ("Raspberry Pi 5 Model B Rev 1.0").
    pub model: String,
    /// Operating system's pretty name.
    pub os: String,
    /// Online processors.
    pub cores: u32,
    /// RAM in bytes.
    pub ram_bytes: u64,
    /// Free bytes where daemons' directories will be.
    pub disk_free_bytes: u64,
    /// Whether /dev/kvm exists.
    pub kvm: bool,
    /// Whether systemd runs it.
    pub systemd: bool,
    /// What only some hosts need and it lacks: `nft`.
    pub lacks: Vec<String>,
    /// Whether IPv4 forwarding is on.
    pub forwarding: bool,
    /// Addresses with their interface's name.
    pub addresses: Vec<(String, Ipv4Net)>,
    /// Routes that are not directly connected, and those that are; never the default route.
    pub routes: Vec<Ipv4Net>,
    /// The interface of the default route.
    pub default_interface: Option<String>,
    /// TCP ports somebody listens on.
    pub ports: Vec<u16>,
    /// Interface names.
    pub interfaces: Vec<String>,
    /// Slicer's version, where installed.
    pub slicer: Option<String>,
    /// The licence file found, absolute.
    pub licence_file: Option<String>,
    /// Slicer daemons found, ours included, from units and running processes.
    pub daemons: Vec<FoundDaemon>,
    /// Groups of Slicer daemons found that are not ours (from units and running processes' YAML).
    pub foreign_groups: Vec<String>,
    /// Marks of the clusters that this host is enrolled in: (cluster name, JSON of its record).
    pub marks: Vec<(String, String)>,
    /// The address this host is reached by, as `SSH_CONNECTION` tells.
    pub ssh_address: Option<Ipv4Addr>,
    /// Tells two machines apart: machine id and boot id (images are cloned with their machine id).
    pub identity: String,
    /// Seconds since 1970 by the host's clock.
    pub clock: u64,
}

/// A Slicer daemon as it was found on a host.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FoundDaemon {
    /// The unit's file, or the process.
    pub source: String,
    /// Its working directory.
    pub directory: String,
    /// Its YAML, absolute.
    pub config: String,
    /// The licence file it was given.
    pub licence_file: Option<String>,
    /// Its groups' names.
    pub groups: Vec<String>,
    /// Its groups' networks.
    pub networks: Vec<Ipv4Net>,
    /// Its groups' tap prefixes.
    pub tap_prefixes: Vec<String>,
    /// Its API's port.
    pub api_port: Option<u16>,
}

impl FoundDaemon {
    /// The cluster of slicer-k3s that it belongs to, if any.
    pub fn cluster(&self) -> Option<&str> {
        let rest = self.directory.strip_prefix(ROOT)?.strip_prefix('/')?;
        rest.split('/').next().filter(|name| !name.is_empty())
    }
}

impl HostFacts {
    /// RAM in whole GiB, rounded: what the firmware keeps for itself is small.
    pub fn ram_gb(&self) -> u32 {
        let half = 1 << 29;
        u32::try_from((self.ram_bytes + half) >> 30).unwrap_or(u32::MAX)
    }

    /// RAM in GiB that an agent may have here, where it is less than agents usually have: something is left to the host.
    pub fn smaller_agent(&self) -> Option<u32> {
        let ram = self.ram_gb();
        (ram < 4).then(|| ram.saturating_sub(1).max(1))
    }

    /// Free disk in whole GB.
    pub fn disk_free_gb(&self) -> u32 {
        u32::try_from(self.disk_free_bytes / 1_000_000_000).unwrap_or(u32::MAX)
    }

    /// Forgets what daemons here serve of these groups: they are to go, and the plan of what stays need not reckon with them.
    pub fn ignore(&mut self, groups: &[&str]) {
        for daemon in &mut self.daemons {
            daemon.groups.retain(|group| !groups.contains(&&**group));
        }
    }

    /// The record that cluster `name` left on this host.
    pub fn mark(&self, name: &str) -> Option<&str> {
        self.marks
            .iter()
            .find(|(cluster, _)| cluster == name)
            .map(|(_, record)| record.as_str())
    }
}
