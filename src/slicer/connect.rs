//! A daemon's API, connected: its token as the host has it, and the address that it is bound to.

use std::sync::Arc;

use super::Slicer;
use crate::failure::{Code, Failure, Result};
use crate::names::slicer::TOKEN_PATHS;
use crate::plan::Daemon;
use crate::remote::Machine;
use crate::secret::Secret;

/// Slicer's API token as a host has it; `None` where it has none, or an empty one.
pub async fn host_token(host: &Machine) -> Result<Option<Secret>> {
    for path in TOKEN_PATHS {
        let text = host.read(path).await?.unwrap_or_default();
        if !text.trim().is_empty() {
            return Ok(Some(Secret::new(text.trim())));
        }
    }
    Ok(None)
}

/// A daemon's API, by this token.
pub fn client(host: &Arc<Machine>, daemon: &Daemon, token: Secret) -> Slicer {
    Slicer {
        host: Arc::clone(host),
        group: daemon.group.clone(),
        address: daemon.local_api(),
        token,
    }
}

/// A daemon's API on its host, with the token as that has it now. Where there is none nobody refused us: that is as if the daemon
/// did not answer.
pub async fn slicer_on(host: &Arc<Machine>, daemon: &Daemon) -> Result<Slicer> {
    if let Some(token) = host_token(host).await? {
        return Ok(client(host, daemon, token));
    }
    Err(Failure::new(
        Code::SlicerApi,
        format!("no Slicer API token on {}", daemon.host),
    )
    .because(format!("{} does not exist yet", TOKEN_PATHS[0]))
    .hint(format!(
        "on {}: sudo journalctl -u {}",
        daemon.host,
        daemon.unit()
    )))
}
