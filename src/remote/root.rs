//! Scripts as root on a machine, alone or in company.

use std::time::Duration;

use super::{Output, Remote, Script, Sudo};
use crate::failure::Result;

/// After the machine has ended a command itself, its last words are still on their way.
const GRACE: Duration = Duration::from_secs(10);

/// A way to a machine, and to root there.
pub(super) struct Root {
    pub(super) remote: Box<dyn Remote>,
    pub(super) sudo: Sudo,
}

impl Root {
    /// Runs a script; one that takes longer than its limit is a failure.
    pub(super) async fn run(&self, script: &Script) -> Result<Output> {
        let limit = script.time_limit().max(Duration::from_secs(1));
        self.exec(script, limit, limit).await
    }

    /// Runs a script that the machine ends a moment after `limit`; what it had printed by then comes back.
    pub(super) async fn partly(&self, script: &Script, limit: Duration) -> Result<Output> {
        self.exec(script, limit, limit + GRACE).await
    }

    async fn exec(&self, script: &Script, theirs: Duration, ours: Duration) -> Result<Output> {
        let (command, mut stdin) = self.sudo.wrap(script.text(), Some(theirs))?;
        stdin.extend_from_slice(script.input());
        self.remote.exec(&command, &stdin, ours).await
    }
}
