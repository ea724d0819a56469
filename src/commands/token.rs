//! `slicer-k3s token`: where the join tokens are; printed only when asked for by name.

use std::time::{Duration, UNIX_EPOCH};

use super::context::{self, StateDir};
use crate::cli::{Global, Token, WhichToken};
use crate::failure::Failures;
use crate::names::k3s::{AGENT_TOKEN_PATH, TOKEN_PATH};
use crate::report;
use crate::time::utc;

/// Runs it.
pub(super) fn run(global: &Global, options: &Token) -> Result<u8, Failures> {
    let config = context::load(global)?;
    let home = StateDir::of(&config.name)?;
    let (state, _) = context::known(&home, &config.name)?;
    match options.reveal {
        Some(WhichToken::Agent) => {
            report::data(&format!("{}\n", state.secrets.agent_token.expose()));
        }
        Some(WhichToken::Server) => {
            report::data(&format!("{}\n", state.secrets.server_token.expose()));
        }
        Some(WhichToken::FormerServer) => {
            for former in &state.secrets.former {
                let until = utc(UNIX_EPOCH + Duration::from_secs(former.until));
                report::data(&format!("{until} {}\n", former.token.expose()));
            }
        }
        None => {
            report::data(&format!(
                "agent   {}  (secrets.agent_token; joins agents, cannot make a server)\n\
                 server  {}  (secrets.server_token; whoever has it is cluster admin)\n\
                 On every server: {AGENT_TOKEN_PATH} and {TOKEN_PATH} (root only).\n\
                 Print one with: slicer-k3s token --reveal agent\n",
                home.state_file().display(),
                home.state_file().display(),
            ));
            if !state.secrets.former.is_empty() {
                report::data(&format!(
                    "Replaced server tokens, for snapshots of etcd from before: {}; slicer-k3s token --reveal former-server\n",
                    state.secrets.former.len()
                ));
            }
        }
    }
    Ok(0)
}
