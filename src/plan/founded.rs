//! That a cluster was founded, and which one: kept in the state and in the mark on every host, so that no later run founds
//! a second one beside it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Which cluster was founded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founded {
    /// SHA-256 of the servers' CA certificate as it lies in k3s's `tls/server-ca.crt`, in hex.
    pub ca: String,
    /// The servers whose etcd members vote.
    #[serde(default)]
    pub voters: BTreeSet<String>,
}

impl Founded {
    /// Whether a server that loses its data finds another one to join: none needs `cluster-init` any more.
    pub fn outlives_a_server(&self) -> bool {
        self.voters.len() >= 2
    }

    /// How many voters must answer.
    pub fn quorum(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}
