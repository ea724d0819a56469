//! `slicer-k3s token`: where the join tokens are; printed only when asked for by name.

use super::{context, one};
use crate::cli::{Global, Token, WhichToken};
use crate::failure::{Code, Failure};
use crate::report;
use crate::state::State;

/// Runs it.
pub(super) fn run(global: &Global, options: &Token) -> Result<u8, Vec<Failure>> {
    let config = context::load(global)?;
    let directory = State::directory(&config.name).map_err(one)?;
    let state = State::open(&directory).map_err(one)?.ok_or_else(|| {
        one(Failure::new(Code::Config, format!("no cluster called {} was made from here", config.name))
            .hint("slicer-k3s init makes it"))
    })?;
    match options.reveal {
        Some(WhichToken::Agent) => report::data(&format!("{}\n", state.secrets.agent_token.expose())),
        Some(WhichToken::Server) => {
            report::data(&format!("{}\n", state.secrets.server_token.expose()));
        }
        None => report::data(&format!(
            "agent   {}  (secrets.agent_token; joins agents, cannot make a server)\n\
             server  {}  (secrets.server_token; whoever has it is cluster admin)\n\
             On every server: /var/lib/rancher/k3s/server/agent-token and /var/lib/rancher/k3s/server/token (root only).\n\
             Print one with: slicer-k3s token --reveal agent\n",
            State::file(&directory).display(),
            State::file(&directory).display(),
        )),
    }
    Ok(0)
}
