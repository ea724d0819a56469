//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

use std::time::{Duration, Instant};

use super::act::Act;
use super::ask;
use super::context::{Context, Home};
use super::one;
use super::turn::Turn;
use crate::cli::{Global, RotateToken};
use crate::failure::{Code, Failure, Result};
use crate::plan::Plan;
use crate::report::say;
use crate::secret::Secret;
use crate::state::{Retired, Secrets, State};
use crate::steps::rotation::{self, Scope};
use crate::steps::{self, Options, Proof};
use crate::world::World;

const COMMAND: &str = "rotate-token";

/// How long a server may take to come back before a rotation is refused.
const PATIENCE: Duration = Duration::from_secs(30);

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
    may_rotate(&state, &token).map_err(one)?;
    if !token.is_retired(&state.secrets.retired) {
        state.secrets.forget_unbegun();
    }
    if !matches!(token, Token::Slicer(_)) {
        rotation::is_complete(&context.world.plan).map_err(one)?;
    }
    if let Token::Slicer(host) = &token
        && !options.allow_outage
    {
        let free = rotation::costs_nothing(&context.world, host).await;
        free.map_err(one)?;
    }
    let retired = &state.secrets.retired;
    let more = options.replace_agents && !retired.replace_agents;
    if more || !token.is_retired(retired) {
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
    Failure::new(Code::PlanConflict, "a join token is being replaced")
        .because("the run that did it has not ended, and servers may accept the old token only")
        .hint(format!("{} finishes it", next.unwrap_or_default()))
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
        if !matches!(self.token, Token::Slicer(_)) && !self.token.is_retired(&state.secrets.retired)
        {
            // Asked before anything is on record: a rotation that cannot begin would hold up every other command.
            servers_are_well(world).await.map_err(one)?;
        }
        let (kind, new) = match &self.token {
            Token::Agent => ("agent token".to_owned(), state.secrets.renew(false)),
            Token::Server => ("server token".to_owned(), state.secrets.renew(true)),
            Token::Slicer(host) => (
                format!("Slicer token of {host}"),
                retire_slicer_token(state, world, host).await,
            ),
        };
        let fresh = new.map_err(one)?;
        let more = asks_for_more(&mut state.secrets.retired, self.replace_agents);
        // Recorded before it is used.
        if fresh || more {
            self.turn.record(state).await.map_err(one)?;
            state.save(self.home.path()).map_err(one)?;
        }
        if fresh {
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
        let scope = match &self.token {
            Token::Agent | Token::Server => Scope::Join,
            Token::Slicer(host) => Scope::Slicer(host),
        };
        let steps = rotation::rotate(&world.plan, &all, &state.secrets, scope);
        let act = Act {
            global: self.global,
            command: self.command,
            started: self.started,
            turn: Some(self.turn),
            absent: Vec::new(),
            likely_done: false,
        };
        act.run(&steps, world).await?;
        // The steps have recorded in the file how far it came.
        let kept = State::open(self.home.path()).map_err(one)?;
        if let Some(kept) = kept {
            let phase = &mut state.secrets.retired.phase;
            *phase = kept.secrets.retired.phase.max(*phase);
        }
        self.turn.record(state).await.map_err(one)?;
        end(scope, &world.plan, &mut state.secrets);
        state.save(self.home.path()).map_err(one)?;
        world.secrets = state.secrets.clone();
        Ok(())
    }
}

/// Refuses where not every server is Ready and votes, after a while in which one may come back by itself.
async fn servers_are_well(world: &World) -> Result<()> {
    let begin = Instant::now();
    while let Some(why) = rotation::hindrance(world).await {
        if begin.elapsed() >= PATIENCE {
            let what = "a join token is replaced only while every server is Ready and votes";
            return Err(Failure::new(Code::PlanConflict, what)
                .because(why)
                .hint("slicer-k3s status shows what it lacks; bring it up, then run again"));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Notes that the agents are to be replaced, whichever run goes on with the rotation; whether that is new.
fn asks_for_more(retired: &mut Retired, replace_agents: bool) -> bool {
    let more = replace_agents && !retired.replace_agents;
    retired.replace_agents |= replace_agents;
    more
}

/// Ends what a run of this scope has done.
fn end(scope: Scope<'_>, plan: &Plan, secrets: &mut Secrets) {
    match scope {
        Scope::Slicer(host) => drop(secrets.retired.slicer.remove(host)),
        // What is off now still has the old token: the run that finds it again ends this.
        Scope::Join if rotation::is_complete(plan).is_err() => {}
        Scope::Join => secrets.settle(),
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

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A continuation without the flag gave the old agents the new token, and they stayed.
    #[test]
    fn that_agents_are_to_be_replaced_outlives_the_run_that_was_asked_for_it() {
        let mut retired = Retired::default();
        assert!(asks_for_more(&mut retired, true));
        assert!(!asks_for_more(&mut retired, false));
        assert!(retired.replace_agents);
    }

    /// What another run was allowed is still to be done, and so is what a host that is off has missed.
    #[test]
    fn a_run_ends_only_what_it_has_done() {
        let mut plan = crate::steps::testing::plan();
        let mut secrets = crate::steps::testing::secrets();
        secrets.renew(false).unwrap();
        for host in ["pi5", "n100"] {
            let old = Secret::new("0ld");
            secrets.retired.slicer.insert(host.into(), old);
        }
        end(Scope::Slicer("pi5"), &plan, &mut secrets);
        assert!(secrets.retired.has_join_tokens());
        plan.absent.push(("ryzen".into(), "no route".into()));
        end(Scope::Join, &plan, &mut secrets);
        assert!(secrets.retired.has_join_tokens());
        plan.absent.clear();
        end(Scope::Join, &plan, &mut secrets);
        assert!(!secrets.retired.has_join_tokens());
        let left: Vec<&String> = secrets.retired.slicer.keys().collect();
        assert_eq!(left, ["n100"]);
    }

    /// Agents of an imported cluster join by the servers' token until `init` has given them their own.
    #[test]
    fn a_cluster_that_is_not_configured_yet_is_configured_first() {
        let mut state = State::create("home").unwrap();
        state.secrets.retired.agent = Some(state.secrets.server_token.clone());
        for refused in [may_rotate(&state, &Token::Agent), none_unfinished(&state)] {
            let hint = refused.unwrap_err().hint.unwrap();
            assert!(hint.contains("init --allow-outage"), "{hint}");
        }
    }
}
