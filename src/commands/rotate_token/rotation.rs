//! One token taken into use everywhere, by whichever command.

use std::time::{Duration, Instant};

use super::Token;
use crate::cli::Global;
use crate::commands::act::Act;
use crate::commands::context::StateDir;
use crate::commands::turn::RunLock;
use crate::escape::escape;
use crate::failure::{Code, Failure, Failures, Result};
use crate::plan::Plan;
use crate::report::say;
use crate::secret::Secret;
use crate::state::{Retired, Secrets, State};
use crate::steps;
use crate::steps::Options;
use crate::steps::rotation::{self, Scope};
use crate::world::World;

/// How long a server may take to come back before a rotation is refused: as long as one that restarts in a turn.
const TIMEOUT: Duration = Duration::from_mins(5);

/// A token to be replaced everywhere, by whichever command.
pub(in crate::commands) struct Rotation<'a> {
    pub(in crate::commands) global: &'a Global,
    pub(in crate::commands) command: &'static str,
    pub(in crate::commands) started: Instant,
    /// Without it everything is only looked at.
    pub(in crate::commands) turn: Option<&'a RunLock>,
    pub(in crate::commands) home: &'a StateDir,
    /// Whether daemons that have VMs may restart.
    pub(in crate::commands) allow_outage: bool,
    pub(in crate::commands) replace_agents: bool,
    /// Whether data on the disks of VMs that end may go.
    pub(in crate::commands) delete_local_data: bool,
    pub(in crate::commands) token: Token,
}

impl Rotation<'_> {
    /// Takes a new token into use. An unfinished rotation is finished rather than followed by another.
    pub(in crate::commands) async fn run(
        self,
        state: &mut State,
        world: &mut World,
    ) -> Result<(), Failures> {
        if !matches!(self.token, Token::Slicer(_)) && !self.token.is_retired(&state.secrets.retired)
        {
            // Asked before anything is on record: a rotation that cannot begin would hold up every other command.
            let timeout = self.turn.map_or(Duration::ZERO, |_| TIMEOUT);
            servers_are_well(world, timeout).await?;
        }
        let (kind, new) = match &self.token {
            Token::Agent => ("agent token".to_owned(), state.secrets.renew(false)),
            Token::Server => ("server token".to_owned(), state.secrets.renew(true)),
            Token::Slicer(host) => (
                format!("Slicer token of {host}"),
                retire_slicer_token(state, world, host).await,
            ),
        };
        let fresh = new?;
        let more = asks_for_more(&mut state.secrets.retired, self.replace_agents);
        // Recorded before it is used.
        if let Some(turn) = self.turn.filter(|_| fresh || more) {
            turn.record(state).await?;
            state.save(self.home.path())?;
        }
        if self.turn.is_none() {
            // What is looked at goes by a token that is on record nowhere.
        } else if fresh {
            say(&format!(
                "A new {kind} is taken into use; what must restart does so in turn."
            ));
        } else {
            say(&format!(
                "A rotation of the {kind} was begun before: it is finished now."
            ));
        }
        world.secrets = state.secrets.clone();
        let all = self.wanted();
        let scope = match &self.token {
            Token::Agent | Token::Server => Scope::Join,
            Token::Slicer(host) => Scope::Slicer(host),
        };
        let steps = steps::rotate(&world.plan, &all, &state.secrets, scope);
        let act = Act {
            global: self.global,
            command: self.command,
            started: self.started,
            turn: self.turn,
            absent: Vec::new(),
            likely_done: false,
        };
        act.run(&steps, world).await?;
        let Some(turn) = self.turn else {
            return Ok(());
        };
        // The steps have recorded in the file how far it came.
        let kept = State::open(self.home.path())?;
        if let Some(kept) = kept {
            let phase = &mut state.secrets.retired.phase;
            *phase = kept.secrets.retired.phase.max(*phase);
        }
        turn.record(state).await?;
        end(scope, &world.plan, &mut state.secrets);
        state.save(self.home.path())?;
        world.secrets = state.secrets.clone();
        Ok(())
    }

    /// What its steps were allowed.
    fn wanted(&self) -> Options {
        Options {
            allow_outage: self.allow_outage,
            delete_local_data: self.delete_local_data,
            ..self.home.read_only()
        }
    }
}

/// Refuses where not every server is Ready and votes, after so long a time in which one may come back by itself.
async fn servers_are_well(world: &World, timeout: Duration) -> Result<()> {
    let begin = tokio::time::Instant::now();
    let mut told = false;
    while let Some(why) = rotation::hindrance(world).await {
        if !std::mem::replace(&mut told, true) && !timeout.is_zero() {
            say(&format!(
                "Waiting until every server is Ready and votes (up to {} s): {}",
                timeout.as_secs(),
                escape(&why)
            ));
        }
        if begin.elapsed() >= timeout {
            let what = "a join token is replaced only while every server is Ready and votes";
            return Err(Failure::new(Code::QuorumAtRisk, what)
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

    /// A server that was only coming back made a rotation end with the code of a mistake in cluster.toml.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_come_back_is_no_mistake_of_the_command_line() {
        use crate::testing::{Fake, world};
        let node = |ready: &str| {
            format!(
                r#"{{"status":{{"conditions":[{{"type":"Ready","status":"{ready}"}},{{"type":"EtcdIsVoter","status":"True"}}]}}}}"#
            )
        };
        let up = Fake::new().says("node", &node("True"));
        let down = Fake::new().says("node", &node("False"));
        let world = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", &down)]);
        let failure = servers_are_well(&world, TIMEOUT).await.unwrap_err();
        assert_eq!(
            (failure.code, failure.code.exit_code()),
            (Code::QuorumAtRisk, 1)
        );
        assert!(failure.to_string().contains("k3s-cp-3"), "{failure}");
    }

    /// The flag was given, the plan was agreed to, and a step in the midst of the run asked for the flag.
    #[test]
    fn that_data_may_go_is_known_to_the_steps() {
        use clap::Parser as _;
        let cli = crate::cli::Cli::parse_from(["slicer-k3s", "rotate-token"]);
        let home = StateDir::of("home").unwrap();
        for delete_local_data in [false, true] {
            let rotation = Rotation {
                global: &cli.global,
                command: "rotate-token",
                started: Instant::now(),
                turn: None,
                home: &home,
                allow_outage: true,
                replace_agents: true,
                delete_local_data,
                token: Token::Agent,
            };
            assert_eq!(rotation.wanted().delete_local_data, delete_local_data);
        }
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
        let mut plan = crate::testing::plan();
        let mut secrets = crate::testing::secrets();
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
}
