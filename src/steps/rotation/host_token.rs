//! A host has a new Slicer API token: the file that its daemons read when they start.

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Daemon;
use crate::remote::Script;
use crate::secret::Secret;
use crate::world::{TOKEN_PATHS, World};

pub(super) struct HostToken {
    /// Any daemon of the host: they share the file.
    daemon: Daemon,
}

pub(super) fn id(host: &str) -> StepId {
    StepId::new("host-token", host)
}

impl HostToken {
    pub(super) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
        }
    }
}

/// Bytes of a token; written as hex.
const TOKEN_BYTES: usize = 32;

/// Owner and mode stay: a group of users may read it.
const WRITE: &str = "set -e; for f in {} {} {}; do [ -s \"$f\" ] || continue
t=$(mktemp -- \"$f.XXXXXX\"); trap 'rm -f -- \"$t\"' EXIT; cat >\"$t\"
chown --reference=\"$f\" -- \"$t\"; chmod --reference=\"$f\" -- \"$t\"; mv -f -- \"$t\" \"$f\"; exit 0; done; exit 1";

#[async_trait]
impl Step for HostToken {
    fn id(&self) -> StepId {
        id(&self.daemon.host)
    }

    fn title(&self) -> String {
        format!("Make a new Slicer API token on {}", self.daemon.host)
    }

    fn hint(&self) -> String {
        format!("on {}: sudo ls -l {}", self.daemon.host, TOKEN_PATHS[0])
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let retired = world.secrets.retired.slicer.get(&self.daemon.host);
        let now = world.slicer(&self.daemon).await?.token;
        Ok(if retired == Some(&now) {
            Finding::differs("it has the old one")
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let fresh = Secret::random_hex(TOKEN_BYTES).map_err(|error| {
            Failure::new(Code::LocalFile, "the system gives no random bytes").because(error)
        })?;
        let write = Script::new(WRITE, &TOKEN_PATHS).stdin(fresh.expose());
        let host = world.host(&self.daemon.host)?;
        host.must(hands, "writing Slicer's token", &write)
            .await
            .map(drop)
    }
}
