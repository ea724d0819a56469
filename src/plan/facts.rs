//! What was found on a host, read from the survey's labelled sections.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Processor architecture, normalised from both spellings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// `x86_64`, `amd64`.
    X86_64,
    /// `aarch64`, `arm64`.
    Aarch64,
}

/// A host as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name in cluster.toml.
    pub name: String,
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
    /// Whether IPv4 forwarding is on.
    pub forwarding: bool,
    /// Addresses with their interface's name.
    pub addresses: Vec<(String, Ipv4Net)>,
    /// Routes that are not directly connected, and those that are.
    pub routes: Vec<Ipv4Net>,
    /// TCP ports somebody listens on.
    pub ports: Vec<u16>,
    /// Interface names.
    pub interfaces: Vec<String>,
    /// Slicer's version, where installed.
    pub slicer: Option<String>,
    /// The licence file found, absolute.
    pub licence_file: Option<String>,
    /// Groups of Slicer daemons found that are not ours (from units and running processes' YAML).
    pub foreign_groups: Vec<String>,
    /// Our own mark, where this host is enrolled: (cluster name, JSON of its record).
    pub mark: Option<String>,
    /// The address this host is reached by, as `SSH_CONNECTION` tells.
    pub ssh_address: Option<Ipv4Addr>,
    /// Seconds since 1970 by the host's clock.
    pub clock: u64,
}
