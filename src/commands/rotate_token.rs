//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

mod rotation;

use std::time::Instant;

use super::act::{self, Act};
use super::consent::Prospect;
use super::context::Context;
use super::one;
use crate::cli::{Global, RotateToken};
use crate::failure::{Code, Failure, Result};
use crate::plan::Plan;
use crate::state::{Retired, Secrets, State};
use crate::steps::outages::{self, Outages};
use crate::steps::rotation::is_complete;
use crate::steps::{self, Proof};
pub(super) use rotation::Rotation;

const COMMAND: &str = "rotate-token";

/// Runs it.
pub(super) async fn run(global: &Global, options: RotateToken) -> Result<u8, Vec<Failure>> {
    let started = Instant::now();
    let consent = options.consent;
    let (mut context, turn) = Context::acting(global, COMMAND, consent).await?;
    let mut state = State::open(context.home.path())
        .map_err(one)?
        .ok_or_else(|| one(Failure::new(Code::LocalFile, "the cluster's state is gone")))?;
    let token = match options.slicer {
        Some(host) => Token::Slicer(host),
        None if options.server => Token::Server,
        None => Token::Agent,
    };
    may_rotate(&state, &token).map_err(one)?;
    if !token.is_retired(&state.secrets.retired) {
        state.secrets.forget_unbegun();
    }
    if !matches!(token, Token::Slicer(_)) {
        is_complete(&context.world.plan).map_err(one)?;
    }
    let retired = &state.secrets.retired;
    let more = options.replace_agents && !retired.replace_agents;
    let news = more || !token.is_retired(retired);
    let outages = match &token {
        Token::Slicer(host) => outages::of_token(&context.world, host).await,
        // That servers restart in turn is what it is asked for.
        Token::Agent | Token::Server => Outages::default(),
    };
    let text = if news || consent.dry_run {
        what_happens(&context.world.plan, &token, options.replace_agents)
    } else {
        String::new()
    };
    let prospect = Prospect {
        text: &text,
        outages: &outages,
        allow_outage: options.allow_outage,
        asks: news,
        instead: "slicer-k3s token shows where the tokens are",
    };
    prospect.agree(consent)?;
    let rotation = Rotation {
        global,
        command: COMMAND,
        started,
        turn: turn.as_ref(),
        home: &context.home,
        allow_outage: options.allow_outage,
        replace_agents: options.replace_agents,
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
    let steps = steps::prove(plan, &[], proof);
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
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// Two at once: the second would begin where a server may be down by the first.
    #[test]
    fn one_join_token_is_replaced_at_a_time() {
        let mut state = State::create("home").unwrap();
        for token in [Token::Agent, Token::Server, Token::Slicer("pi5".into())] {
            assert!(may_rotate(&state, &token).is_ok());
        }
        assert!(none_unfinished(&state).is_ok());
        state.secrets.renew(false).unwrap();
        state.secrets.retired.replace_agents = true;
        // What no server knows of yet holds nothing up.
        assert!(may_rotate(&state, &Token::Server).is_ok());
        assert!(none_unfinished(&state).is_ok());
        state.secrets.retired.phase = crate::state::Phase::Begun;
        assert!(may_rotate(&state, &Token::Agent).is_ok());
        let refused = [
            may_rotate(&state, &Token::Server),
            may_rotate(&state, &Token::Slicer("pi5".into())),
            none_unfinished(&state),
        ];
        for refused in refused {
            let hint = refused.unwrap_err().hint.unwrap();
            assert_eq!(hint, "slicer-k3s rotate-token --replace-agents finishes it");
        }
        state.secrets.settle();
        let host = ("pi5".to_owned(), Secret::new("0ld"));
        state.secrets.retired.slicer.extend([host]);
        assert!(may_rotate(&state, &Token::Agent).is_ok());
        assert!(none_unfinished(&state).is_ok());
    }

    /// Agents of an imported cluster join by the servers' token until `init` has given them their own.
    #[test]
    fn a_cluster_that_is_not_configured_yet_is_configured_first() {
        let mut state = State::create("home").unwrap();
        state.secrets.retired.agent = Some(state.secrets.server_token.clone());
        for refused in [may_rotate(&state, &Token::Agent), none_unfinished(&state)] {
            let failure = refused.unwrap_err();
            assert_eq!(failure.code.exit_code(), 1, "no mistake of anyone's");
            let hint = failure.hint.unwrap();
            assert!(hint.contains("slicer-k3s init"), "{hint}");
        }
    }
}
