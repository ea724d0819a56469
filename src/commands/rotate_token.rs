//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

use std::time::Instant;

use super::act::Act;
use super::context::{Context, Home};
use super::one;
use super::turn::Turn;
use crate::cli::{Global, RotateToken};
use crate::failure::{Code, Failure, Result};
use crate::report::say;
use crate::secret::Secret;
use crate::state::{Retired, State};
use crate::steps::{self, Options, Proof};
use crate::world::World;

const COMMAND: &str = "rotate-token";

/// Runs it.
pub(super) async fn run(global: &Global, options: RotateToken) -> Result<u8, Vec<Failure>> {
    let started = Instant::now();
    let (mut context, turn) = Context::acting(global, COMMAND).await?;
    let mut state = State::open(context.home.path())
        .map_err(one)?
        .ok_or_else(|| one(Failure::new(Code::LocalFile, "the cluster's state is gone")))?;
    let rotation = Rotation {
        global,
        command: COMMAND,
        started,
        turn: &turn,
        home: &context.home,
        // Servers that restart in turn are no outage; daemons that do are.
        allow_outage: options.slicer.is_none() || options.allow_outage,
        token: match options.slicer {
            Some(host) => Token::Slicer(host),
            None if options.server => Token::Server,
            None => Token::Agent,
        },
    };
    rotation.run(&mut state, &mut context.world).await?;

    let plan = &context.world.plan;
    if options.skip_proof || plan.workers().next().is_none() {
        return Ok(0);
    }
    let proof = Proof {
        pods: 1,
        again: true,
    };
    let steps = steps::prove(plan, &[], proof);
    let act = Act {
        global,
        command: COMMAND,
        started: Instant::now(),
        turn: Some(&turn),
        absent: Vec::new(),
        likely_done: false,
    };
    act.run(&steps, &context.world).await?;
    Ok(0)
}

/// Which token is replaced.
pub(super) enum Token {
    /// The one that agents join by.
    Agent,
    /// The one that servers join by.
    Server,
    /// The Slicer API token of this host's daemons.
    Slicer(String),
}

/// A token to be replaced everywhere, by whichever command.
pub(super) struct Rotation<'a> {
    pub(super) global: &'a Global,
    pub(super) command: &'static str,
    pub(super) started: Instant,
    pub(super) turn: &'a Turn,
    pub(super) home: &'a Home,
    pub(super) allow_outage: bool,
    pub(super) token: Token,
}

impl Rotation<'_> {
    /// Takes a new token into use. An unfinished rotation is finished rather than followed by another.
    pub(super) async fn run(
        self,
        state: &mut State,
        world: &mut World,
    ) -> Result<(), Vec<Failure>> {
        let (kind, new) = match &self.token {
            Token::Agent => ("agent token".to_owned(), state.secrets.renew(false)),
            Token::Server => ("server token".to_owned(), state.secrets.renew(true)),
            Token::Slicer(host) => (
                format!("Slicer token of {host}"),
                retire_slicer_token(state, world, host).await,
            ),
        };
        // Recorded before it is used.
        if new.map_err(one)? {
            state.save(self.home.path()).map_err(one)?;
            say(&format!(
                "A new {kind} is taken into use; what must restart does so in turn."
            ));
        } else {
            say(&format!(
                "A rotation of the {kind} was begun before: it is finished now."
            ));
        }
        world.secrets = state.secrets.clone();
        let all = Options {
            allow_outage: self.allow_outage,
            ..self.home.modest()
        };
        let steps = steps::rotation::rotate(&world.plan, &all, &state.secrets.retired);
        let act = Act {
            global: self.global,
            command: self.command,
            started: self.started,
            turn: Some(self.turn),
            absent: Vec::new(),
            likely_done: false,
        };
        act.run(&steps, world).await?;
        state.secrets.retired = Retired::default();
        state.save(self.home.path()).map_err(one)
    }
}

/// Notes the token that the host's daemons have now as the old one; false where that was done before.
async fn retire_slicer_token(state: &mut State, world: &World, host: &str) -> Result<bool> {
    if state.secrets.retired.slicer.contains_key(host) {
        return Ok(false);
    }
    let old = slicer_token(world, host).await?;
    state.secrets.retired.slicer.insert(host.to_owned(), old);
    Ok(true)
}

/// The token that the host's daemons have now.
async fn slicer_token(world: &World, host: &str) -> Result<Secret> {
    let daemon = world.plan.daemons_of(host).next().ok_or_else(|| {
        Failure::new(
            Code::Config,
            format!("no daemon of the cluster runs on {host}"),
        )
        .hint("slicer-k3s status lists its hosts")
    })?;
    Ok(world.slicer(daemon).await?.token)
}
