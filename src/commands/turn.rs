//! The right to act on a cluster: nobody else does, from this workstation or another. Whoever only looks needs none.

use crate::config::Config;
use crate::failure::Result;
use crate::fleet::{ClusterLock, Fleet};
use crate::state::Lock;

/// Ours until it is dropped.
pub(super) struct Turn {
    _here: Lock,
    there: ClusterLock,
}

impl Turn {
    /// Takes the cluster's lock for `command`, where this workstation's is ours already.
    pub(super) async fn take(
        here: Lock,
        fleet: &Fleet,
        config: &Config,
        command: &str,
    ) -> Result<Self> {
        Ok(Self {
            _here: here,
            there: ClusterLock::take(fleet, config, command).await?,
        })
    }

    /// Does `work` as long as it is our turn.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        self.there.during(work).await
    }
}
