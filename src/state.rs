//! Decisions and secrets on disk: 0600, atomic, versioned. Never progress.

use crate::secret::Secret;

/// What only this cluster's operators may know.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Secrets {
    /// Servers join with it; it also encrypts k3s's bootstrap data.
    pub server_token: Secret,
    /// Agents join with it; it cannot make a server.
    pub agent_token: Secret,
    /// The cluster's own ed25519 key for its server VMs, OpenSSH PEM.
    pub ssh_private_key: Secret,
    /// Its public half, one authorized_keys line.
    pub ssh_public_key: String,
}
