//! The cluster's API through `k3s kubectl … -o json` on a server.

use std::sync::Arc;

use crate::remote::Machine;

/// kubectl on one server.
pub struct Kubernetes {
    /// The server.
    pub server: Arc<Machine>,
}
