//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

mod others;
mod rotation;

use std::time::Instant;

use super::act::{self, Act};
use super::consent::Prospect;
use super::context::Context;
use crate::cli::{Global, RotateToken};
use crate::escape::escape;
use crate::failure::{Code, Failure, Failures, Result};
use crate::plan::Plan;
use crate::report::say;
use crate::state::{Retired, Secrets, State};
use crate::steps::local_data;
use crate::steps::outages::{self, Outages};
use crate::steps::rotation::is_complete;
use crate::steps::{self, Proof};
pub(super) use rotation::Rotation;

const COMMAND: &str = "rotate-token";

/// Runs it.
pub(super) async fn run(global: &Global, options: RotateToken) -> Result<u8, Failures> {
    let started = Instant::now();
    let consent = options.consent;
    let (mut context, turn) = Context::acting(global, COMMAND, consent).await?;
    let mut state = State::open(context.home.path())?
        .ok_or_else(|| Failure::new(Code::LocalFile, "the cluster's state is gone"))?;
    let token = match options.slicer {
        Some(host) => Token::Slicer(host),
        None if options.server => Token::Server,
        None => Token::Agent,
    };
    may_rotate(&state, &token)?;
    if !token.is_retired(&state.secrets.retired) {
        state.secrets.forget_unbegun();
    }
    if !matches!(token, Token::Slicer(_)) {
        is_complete(&context.world.plan)?;
    }
    if let Token::Slicer(host) = &token
        && !options.also_others
        && !token.is_retired(&state.secrets.retired)
    {
        match others::none_uses_the_token(&context.world, host).await {
            Ok(()) => {}
            // A look is refused nothing.
            Err(failure) if consent.dry_run && failure.code == Code::Outage => {
                say(&escape(&format!("{failure} (needs --also-others)")));
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    let replaces = token.replaces_agents(&state.secrets.retired, options.replace_agents);
    let ending = token.ends(&context.world.plan, replaces);
    let loss = local_data::of_groups(&context.world, &ending).await;
    let retired = &state.secrets.retired;
    let more = options.replace_agents && !retired.replace_agents;
    let news = more || !token.is_retired(retired);
    // What was agreed to before this run may have cost less: agents have new data, or there are more of them.
    let asks = news || replaces;
    let outages = match &token {
        Token::Slicer(host) => outages::of_token(&context.world, host).await,
        // That servers restart in turn is what it is asked for.
        Token::Agent | Token::Server => Outages::default(),
    };
    let text = if asks || consent.dry_run {
        what_happens(&context.world.plan, &token, replaces)
    } else {
        String::new()
    };
    let instead = "slicer-k3s token shows where the tokens are";
    let prospect = Prospect {
        outages: &outages,
        allow_outage: options.allow_outage,
        asks,
        ..Prospect::of(&text, instead).losing(&loss, options.delete_local_data)
    };
    prospect.agree(consent).await?;
    let rotation = Rotation {
        global,
        command: COMMAND,
        started,
        turn: turn.as_ref(),
        home: &context.home,
        allow_outage: options.allow_outage,
        replace_agents: options.replace_agents,
        delete_local_data: options.delete_local_data,
        token,
    };
    rotation.run(&mut state, &mut context.world).await?;

    let plan = &context.world.plan;
    let Some(turn) = &turn else {
        // A token is replaced each time.
        return Ok(act::WOULD_CHANGE);
    };
    if options.skip_proof || plan.workers().next().is_none() {
        return Ok(0);
    }
    let proof = Proof {
        pods: 1,
        again: true,
    };
    let steps = steps::prove(plan, &[], proof, options.delete_local_data);
    let act = Act {
        global,
        command: COMMAND,
        started: Instant::now(),
        turn: Some(turn),
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
    /// The join token whose replacement has not ended.
    pub(super) fn unfinished(retired: &Retired) -> Option<Self> {
        let server = retired.server.as_ref().map(|_| Self::Server);
        server.or_else(|| retired.agent.as_ref().map(|_| Self::Agent))
    }

    /// Whether it was replaced by a run that did not end.
    fn is_retired(&self, retired: &Retired) -> bool {
        match self {
            Self::Agent => retired.agent.is_some(),
            Self::Server => retired.server.is_some(),
            Self::Slicer(host) => retired.slicer.contains_key(host),
        }
    }

    /// Whether the agents of before are replaced: it is asked for, or was when the rotation began that this one finishes.
    fn replaces_agents(&self, retired: &Retired, asked: bool) -> bool {
        let earlier = self.is_retired(retired) && retired.replace_agents;
        matches!(self, Self::Agent) && (asked || earlier)
    }
}

impl Token {
    /// The groups whose agents end for it: those of daemons that restart, or all that are to be replaced.
    fn ends<'p>(&self, plan: &'p Plan, replace_agents: bool) -> Vec<&'p str> {
        let daemons = plan.workers().filter(|daemon| match self {
            Self::Slicer(host) => daemon.host == *host,
            _ => replace_agents,
        });
        daemons.map(|daemon| &*daemon.group).collect()
    }
}

/// Refuses what would mix two rotations: of join tokens one at a time is replaced, and a daemon's restart may reboot servers.
fn may_rotate(state: &State, token: &Token) -> Result<()> {
    let retired = &state.secrets.retired;
    if state.secrets.agents_had_the_server_token() {
        return Err(not_configured(&state.cluster));
    }
    if state.secrets.has_begun_rotation() && !token.is_retired(retired) {
        return Err(unfinished(&state.secrets));
    }
    Ok(())
}

/// Refuses what cannot be done while a join token is being replaced: daemons would be given a token that the servers do not
/// accept yet.
pub(super) fn none_unfinished(state: &State) -> Result<()> {
    if state.secrets.agents_had_the_server_token() {
        return Err(not_configured(&state.cluster));
    }
    if state.secrets.has_begun_rotation() {
        return Err(unfinished(&state.secrets));
    }
    Ok(())
}

/// The replacement of a join token that has to end first.
fn unfinished(secrets: &Secrets) -> Failure {
    let next = secrets.unfinished_rotation();
    Failure::new(Code::RotationUnfinished, "a join token is being replaced")
        .because("the run that did it has not ended, and servers may accept the old token only")
        .hint(format!("{} finishes it", next.unwrap_or_default()))
}

/// Servers that were set up by hand go by what their units say until `init` has configured them.
fn not_configured(cluster: &str) -> Failure {
    Failure::new(
        Code::RotationUnfinished,
        format!("the servers of {cluster} are not configured yet"),
    )
    .because("it was imported, and its agents still join by the servers' token")
    .hint("slicer-k3s init gives them a token of their own")
}

/// What a rotation does, and what it does not keep out.
fn what_happens(plan: &Plan, token: &Token, replace_agents: bool) -> String {
    let restart = match plan.servers.as_slice() {
        [_] => "the only server restarts, the API stops meanwhile, and it refuses the old one",
        _ => "the servers restart one after the other and refuse the old one",
    };
    match token {
        Token::Agent if replace_agents => {
            format!(
                "The agents' join token is replaced: {restart}.\n\
                 The agents that are there are drained and removed, one group after the other; the autoscaler is stopped\n\
                 meanwhile and makes others afterwards."
            )
        }
        Token::Agent => {
            format!(
                "The agents' join token is replaced: {restart}.\n\
                 The old token lets no one join any more. An agent that has joined stays, for it has a certificate of its own;\n\
                 --replace-agents drains and removes those that are there."
            )
        }
        Token::Server => {
            format!(
                "The servers' join token is replaced: {restart}.\n\
                 The old token no longer joins a server or opens the cluster's keys. Anyone who used it before may have the keys\n\
                 of the cluster's CA, which stay the same. Snapshots of etcd from before need the old token: it is kept in the\n\
                 cluster's state (slicer-k3s token --reveal former-server)."
            )
        }
        Token::Slicer(host) => format!(
            "Slicer's API token of {host} is replaced: its daemons restart, which ends their agents and reboots their servers."
        ),
    }
}

#[cfg(test)]
mod tests;
