//! The join tokens where a host is removed: one whose replacement has not ended, and the one that the host knows.

use std::time::Instant;

use super::{COMMAND, announce_without};
use crate::cli::{Global, RemoveHost};
use crate::commands::context::StateDir;
use crate::commands::rotate_token::{Rotation, Token, none_unfinished};
use crate::commands::turn::RunLock;
use crate::failure::{Failures, Result};
use crate::plan::Decisions;
use crate::state::State;
use crate::world::World;

/// Refuses to remove a host while a join token is being replaced, unless it is gone for good: what such a host has held up can
/// end only without it.
pub(super) fn may_leave(state: &State, options: &RemoveHost) -> Result<()> {
    if options.gone && !state.secrets.agents_had_the_server_token() {
        return Ok(());
    }
    none_unfinished(state)
}

/// A removal under way.
pub(super) struct Tokens<'a> {
    pub(super) global: &'a Global,
    pub(super) options: &'a RemoveHost,
    pub(super) turn: &'a RunLock,
    pub(super) home: &'a StateDir,
}

impl Tokens<'_> {
    /// Finishes the replacement of a join token that another run has begun, without the host that is about to leave.
    pub(super) async fn finish(
        &self,
        state: &mut State,
        world: &mut World,
        decisions: &Decisions,
    ) -> Result<(), Failures> {
        // Its Slicer token is replaced no more.
        if self.options.gone {
            state.secrets.retired.slicer.remove(&self.options.name);
        }
        state.secrets.forget_unbegun();
        world.secrets = state.secrets.clone();
        let Some(token) = Token::unfinished(&state.secrets.retired) else {
            return Ok(());
        };
        self.rotate(token, state, world).await?;
        let without = world.plan.decisions(decisions);
        announce_without(self.turn, state, without)
            .await
            .map_err(Failures::from)
    }

    /// Replaces the agents' token where the host is gone with it, also where [`Self::finish`] has done so: that rotation may
    /// have begun while the host had its part in it. Where another host is off, too, that one is still under way.
    pub(super) async fn replace(
        &self,
        state: &mut State,
        world: &mut World,
    ) -> Result<(), Failures> {
        let under_way = state.secrets.retired.has_join_tokens();
        if !self.options.gone || self.options.keep_token || under_way {
            return Ok(());
        }
        self.rotate(Token::Agent, state, world).await
    }

    async fn rotate(
        &self,
        token: Token,
        state: &mut State,
        world: &mut World,
    ) -> Result<(), Failures> {
        let rotation = Rotation {
            global: self.global,
            command: COMMAND,
            started: Instant::now(),
            turn: Some(self.turn),
            home: self.home,
            // No daemon restarts.
            allow_outage: false,
            replace_agents: false,
            delete_local_data: self.options.delete_local_data,
            token,
        };
        rotation.run(state, world).await
    }
}

/// The groups whose VMs end: those that leave, and every other one where agents that joined by an old token are to be replaced.
pub(super) fn ending<'a>(world: &'a World, leaving: &[&'a str]) -> Vec<&'a str> {
    let retired = &world.secrets.retired;
    let all = Token::unfinished(retired).is_some() && retired.replace_agents;
    let others = world.plan.workers().filter(|_| all);
    let others = others.map(|daemon| &*daemon.group);
    leaving.iter().copied().chain(others).collect()
}

/// What is finished first, for those who are about to remove a host.
pub(super) fn told(world: &World) -> &'static str {
    match Token::unfinished(&world.secrets.retired) {
        Some(_) if world.secrets.retired.replace_agents => {
            "  a rotation of a join token that has not ended is finished first: servers restart one by one, and the agents that joined \
             by the old token are drained and removed\n"
        }
        Some(_) => {
            "  a rotation of a join token that has not ended is finished first: servers restart one by one\n"
        }
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(words: &[&str]) -> RemoveHost {
        let all = ["slicer-k3s", "remove-host", "pi5"];
        match Cli::parse_from(all.iter().chain(words)).command {
            Command::RemoveHost(options) => options,
            _ => panic!("another command"),
        }
    }

    /// Daemons would be given a token that the servers do not accept yet; a host that is dead must not hold that up.
    #[test]
    fn a_host_leaves_between_rotations_unless_it_is_gone() {
        let mut state = State::create("home").unwrap();
        let (asked, gone) = (options(&[]), options(&["--gone"]));
        assert!(may_leave(&state, &asked).is_ok());
        state.secrets.renew(false).unwrap();
        state.secrets.retired.phase = crate::state::RotationPhase::Begun;
        let hint = may_leave(&state, &asked).unwrap_err().hint.unwrap();
        assert!(hint.contains("slicer-k3s rotate-token"), "{hint}");
        assert!(may_leave(&state, &gone).is_ok());
        // Not configured since its import: `init` comes first.
        state.secrets.retired.agent = Some(state.secrets.server_token.clone());
        assert!(may_leave(&state, &gone).is_err());
    }
}
