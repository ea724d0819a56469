//! A connection that is logged in, and the way to make one.

use std::time::Duration;

use async_trait::async_trait;

use super::client::{Client, Ending};
use crate::failure::Result;

/// How long a machine may take to accept a connection, and again to shake hands.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that is logged in, and those it runs through.
pub(super) struct Connection {
    /// To run commands and open tunnels.
    pub(super) client: Client,
    /// Why it ended, once it has.
    pub(super) ending: Ending,
    /// Dropping a jump host's connection would end this one.
    _jumps: Vec<Client>,
}

/// Makes connections; asked again when one was lost.
#[async_trait]
pub(super) trait Dial: Send + Sync {
    /// One connection, logged in.
    async fn dial(&self) -> Result<Connection>;
}

impl Connection {
    /// One that runs through these.
    pub(super) fn new(client: Client, ending: Ending, jumps: Vec<Client>) -> Self {
        Self {
            client,
            ending,
            _jumps: jumps,
        }
    }
}
