//! SSH in process (russh): hosts with the user's keys and known_hosts, VMs through their host with pinned keys.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Machine, Remote};
use crate::failure::Result;
use crate::secret::Secret;

/// How to reach one VM: through its host, with the cluster's key, host keys pinned.
pub struct VmTarget {
    /// The VM's name, for messages.
    pub name: String,
    /// The machine that can reach it.
    pub via: Arc<Machine>,
    /// Its address.
    pub address: Ipv4Addr,
    /// The user to log in as.
    pub user: String,
    /// Private key, OpenSSH PEM.
    pub key: Secret,
    /// Host keys read through Slicer's API: `ssh-ed25519 AAAA…` lines.
    pub host_keys: Vec<String>,
}

/// Connects to a VM.
pub async fn connect_vm(_target: VmTarget) -> Result<Box<dyn Remote>> {
    Err(crate::failure::Failure::new(
        crate::failure::Code::SshUnreachable,
        "not reached",
    ))
}
