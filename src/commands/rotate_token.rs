//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

use std::time::Instant;

use super::act::Act;
use super::ask;
use super::context::{Context, Home};
use super::one;
use super::turn::Turn;
use crate::cli::{Global, RotateToken};
use crate::failure::{Code, Failure, Result};
use crate::report::say;
use crate::secret::Secret;
use crate::state::{Retired, State};
use crate::steps::rotation::Extent;
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
    let token = match options.slicer {
        Some(host) => Token::Slicer(host),
        None if options.server => Token::Server,
        None => Token::Agent,
    };
    if state.secrets.agents_had_the_server_token() {
        return Err(one(not_configured(&state.cluster)));
    }
    if !token.is_retired(&state.secrets.retired) {
        say(&what_happens(&token, options.replace_agents));
        ask::consent(options.yes, "slicer-k3s token shows where the tokens are").map_err(one)?;
    }
    let rotation = Rotation {
        global,
        command: COMMAND,
        started,
        turn: &turn,
        home: &context.home,
        // Servers that restart in turn are no outage; daemons that do are.
        allow_outage: !matches!(token, Token::Slicer(_)) || options.allow_outage,
        replace_agents: options.replace_agents,
        token,
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

impl Token {
    /// Whether it was replaced by a run that did not end.
    fn is_retired(&self, retired: &Retired) -> bool {
        match self {
            Self::Agent => retired.agent.is_some(),
            Self::Server => retired.server.is_some(),
            Self::Slicer(host) => retired.slicer.contains_key(host),
        }
    }
}

/// Servers that were set up by hand go by what their units say until `init` has configured them.
fn not_configured(cluster: &str) -> Failure {
    Failure::new(
        Code::PlanConflict,
        format!("the servers of {cluster} are not configured yet"),
    )
    .because("it was imported, and its agents still join by the servers' token")
    .hint("slicer-k3s init --allow-outage gives them a token of their own")
}

/// What a rotation does, and what it does not keep out.
fn what_happens(token: &Token, replace_agents: bool) -> String {
    match token {
        Token::Agent if replace_agents => {
            "The agents' join token is replaced: the servers restart one after the other and refuse the old one.\n\
             The agents that are there are drained and removed, one group after the other; the autoscaler is stopped\n\
             meanwhile and makes others afterwards."
                .to_owned()
        }
        Token::Agent => {
            "The agents' join token is replaced: the servers restart one after the other and refuse the old one.\n\
             The old token lets no one join any more. An agent that has joined stays, for it has a certificate of its own;\n\
             --replace-agents drains and removes those that are there."
                .to_owned()
        }
        Token::Server => {
            "The servers' join token is replaced: the servers restart one after the other and refuse the old one.\n\
             The old token no longer joins a server or opens the cluster's keys. Anyone who used it before may have the keys\n\
             of the cluster's CA, which stay the same. Snapshots of etcd from before need the old token: it is kept in the\n\
             cluster's state (slicer-k3s token --reveal former-server)."
                .to_owned()
        }
        Token::Slicer(host) => format!(
            "Slicer's API token of {host} is replaced: its daemons restart, which ends their agents and reboots their servers."
        ),
    }
}

/// A token to be replaced everywhere, by whichever command.
pub(super) struct Rotation<'a> {
    pub(super) global: &'a Global,
    pub(super) command: &'static str,
    pub(super) started: Instant,
    pub(super) turn: &'a Turn,
    pub(super) home: &'a Home,
    pub(super) allow_outage: bool,
    pub(super) replace_agents: bool,
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
        let fresh = new.map_err(one)?;
        if fresh {
            self.turn.record(state);
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
        let extent = Extent {
            fresh,
            replace_agents: self.replace_agents,
        };
        let steps = steps::rotation::rotate(&world.plan, &all, &state.secrets, extent);
        let act = Act {
            global: self.global,
            command: self.command,
            started: self.started,
            turn: Some(self.turn),
            absent: Vec::new(),
            likely_done: false,
        };
        act.run(&steps, world).await?;
        self.turn.record(state);
        state.secrets.settle();
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
