//! The cluster's bootstrap data is sealed with the new server token.
//!
//! That is the fact, not whom a server lets in: each running k3s goes by the token that it was started with until it
//! restarts (k3s pkg/daemons/control/server.go reads its passwords once).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::failure::{Code, Failure, Result};
use crate::k3s;
use crate::k3s::CONFIG_PATH;
use crate::names::k3s::UNIT;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::remote::Machine;
use crate::secret::Secret;
use crate::state::{RotationPhase, State};
use crate::step_id::StepName;
use crate::steps::rotation::old_token_refused::accepts;
use crate::steps::rotation::parts::put_token::put;
use crate::steps::server::parts::k3s_troubles::Troubles;
use crate::steps::support::unit::Unit;
use crate::world::World;

#[derive(Default)]
pub(crate) struct ServerToken {
    /// The state's directory.
    state: PathBuf,
    /// A server was asked in this run to do it.
    sent: AtomicBool,
    /// A server said in this run that it has done it.
    sealed: AtomicBool,
}

/// Which token a server stands for.
#[derive(Debug, PartialEq, Eq)]
enum TokenInUse {
    /// It runs with the new one: it could not have read data that are sealed with another.
    New,
    /// It runs and still goes by the old one, which says nothing of the data.
    Old,
    /// It was started with the old one and cannot read the data: they are sealed with the new one.
    LockedOut,
    /// It does not say, and why.
    Silent(String),
}

impl ServerToken {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// Whether a server may have been asked for it: if none was, one that cannot read its data is locked out for another
    /// reason.
    fn may_be_done(&self, world: &World) -> bool {
        self.sent.load(Ordering::Relaxed) || world.secrets.retired.phase >= RotationPhase::Sealing
    }

    async fn standing(world: &World, server: &Server) -> TokenInUse {
        let asked = async {
            let machine = world.server(server).await?;
            let Some(old) = &world.secrets.retired.server else {
                return Ok(TokenInUse::New);
            };
            let new = &world.secrets.server_token;
            let let_in = match accepts(machine, "server", new).await {
                Ok(true) => Ok(TokenInUse::New),
                Ok(false) => accepts(machine, "server", old).await.map(|old| {
                    if old {
                        TokenInUse::Old
                    } else {
                        TokenInUse::Silent(format!("{} accepts neither token", server.name))
                    }
                }),
                Err(failure) => Err(failure),
            };
            // A server that is locked out lets in for a moment at each of its starts: k3s listens before it reads the data.
            let unit = Unit::look(machine, UNIT).await?;
            if unit.runs() {
                return let_in;
            }
            if locked_out(machine, &unit, old).await? {
                return Ok(TokenInUse::LockedOut);
            }
            let_in.map(|_| TokenInUse::Silent(format!("k3s on {} is starting", server.name)))
        };
        asked
            .await
            .unwrap_or_else(|failure: Failure| TokenInUse::Silent(failure.to_string()))
    }

    async fn standings(world: &World) -> Vec<(&Server, TokenInUse)> {
        let servers = world.plan.servers.iter();
        join_all(servers.map(|server| async move { (server, Self::standing(world, server).await) }))
            .await
    }
}

/// Whether k3s ended since its data are sealed with another token than the old one that its configuration still names.
async fn locked_out(machine: &Machine, unit: &Unit, old: &Secret) -> Result<bool> {
    let config = machine.read(CONFIG_PATH).await?.unwrap_or_default();
    if k3s::configured_token(&config).as_ref() != Some(old) {
        return Ok(false);
    }
    let told = Troubles::default().of(machine, unit).await?;
    Ok(told.is_some_and(|told| {
        told.ended
            && told
                .trouble
                .is_some_and(|trouble| trouble.is_sealed_otherwise())
    }))
}

#[async_trait]
impl Step<World> for ServerToken {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ServerToken.on_cluster(),
            "Seal the cluster's data with the new server token",
            "slicer-k3s status shows which servers are up; then run again: both tokens are \
             recorded until the new one is in use everywhere",
        )
        // A server that has just been locked out says so at its next start.
        .timeout(Duration::from_secs(30))
        .poll_interval(Duration::from_secs(1))
        .code(Code::Kubernetes)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        if self.sealed.load(Ordering::Relaxed) {
            return Ok(Finding::done());
        }
        let standings = Self::standings(world).await;
        let has = |wanted: &TokenInUse| standings.iter().any(|(_, standing)| standing == wanted);
        // One of them is enough, whatever the others' processes go by.
        if has(&TokenInUse::New) || (has(&TokenInUse::LockedOut) && self.may_be_done(world)) {
            return Ok(Finding::done());
        }
        // What an earlier run had done is done again: by the same server that changes nothing more.
        if has(&TokenInUse::Old) {
            return Ok(Finding::differs("the servers run with the old one"));
        }
        let why = standings
            .into_iter()
            .find_map(|(server, standing)| match standing {
                TokenInUse::Silent(why) => Some(why),
                TokenInUse::LockedOut => Some(format!(
                    "{} cannot read the cluster's data, which no run has sealed with the new token",
                    server.name
                )),
                TokenInUse::New | TokenInUse::Old => None,
            });
        Ok(Finding::Unknown(why.unwrap_or_else(|| {
            "no server says which token it goes by".into()
        })))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let Some(old) = &world.secrets.retired.server else {
            return Ok(());
        };
        let standings = Self::standings(world).await;
        let open = standings
            .iter()
            .find(|(_, standing)| *standing == TokenInUse::Old);
        let Some((server, _)) = open else {
            // Waited for: a server that starts may say more.
            return Ok(());
        };
        let machine = world.server(server).await?;
        let new = &world.secrets.server_token;
        if !self.may_be_done(world) {
            State::advance(&self.state, RotationPhase::Sealing)?;
            self.sent.store(true, Ordering::Relaxed);
        }
        if put(machine, permit, old, new).await.is_err() {
            // k3s writes its files before it seals the data. Where it was stopped in between, it takes the new token for
            // the old one from then on, and refuses; back and forth it does all of it.
            put(machine, permit, old, old).await?;
            put(machine, permit, old, new).await?;
        }
        self.sealed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    fn rotating(servers: &[(&str, &Fake)]) -> World {
        let mut world = world(servers);
        world.secrets.retired.server = Some(Secret::new("0ld-server-token"));
        world
    }

    /// A k3s that runs, with its answers to the new and then to the old token.
    fn server(answers: [&str; 2]) -> Fake {
        Fake::new()
            .says_first("/v1-k3s/config", answers[0])
            .says_first("/v1-k3s/config", answers[1])
            .says("systemctl", RUNS)
    }

    const RUNS: &str = "ActiveState=active\nSubState=running\n";

    const LOCKED_OUT: &str = r#"time="x" level=fatal msg="Error: preparing server: bootstrap data already found and encrypted with different token""#;
    const ENDED: &str = "ActiveState=activating\nSubState=auto-restart\nNRestarts=3\nInvocationID=b\nResult=exit-code\nExecMainStatus=1\n";

    /// k3s answers 401 to the new token until it restarts: the rotation never got beyond this step.
    #[tokio::test]
    async fn a_running_server_that_still_refuses_the_new_token_does_not_fail_the_rotation() {
        let fake = server(["401", "403"])
            .says_first("/v1-k3s/config", "401")
            .says_first("/v1-k3s/config", "403")
            .says("/v1-k3s/token", "200")
            .says("/v1-k3s/config", "401");
        let world = rotating(&[("k3s-cp-1", &fake)]);
        let step = ServerToken::default();
        assert!(matches!(
            step.check(&world, Phase::Before).await.unwrap(),
            Finding::Differs(_)
        ));
        step.apply(&world, &permit()).await.unwrap();
        assert_eq!(
            step.check(&world, Phase::After).await.unwrap(),
            Finding::done()
        );
        // Neither token is in a command line.
        assert!(
            fake.told()
                .iter()
                .all(|(command, _)| !command.contains("0ld-server") && !command.contains("5e7ve7"))
        );
    }

    /// k3s itself was stopped between its files and the data: it then answers 500 to the same request for ever.
    #[tokio::test]
    async fn a_half_done_rotation_goes_back_and_forth() {
        let fake = server(["401", "403"])
            .says_first("/v1-k3s/token", "500")
            .says("/v1-k3s/token", "200");
        let step = ServerToken::default();
        step.apply(&rotating(&[("k3s-cp-1", &fake)]), &permit())
            .await
            .unwrap();
        let told = fake.told();
        let sent: Vec<&str> = told
            .iter()
            .filter(|(command, _)| command.contains("/v1-k3s/token"))
            .map(|(_, stdin)| stdin.split("newToken").nth(1).unwrap())
            .collect();
        assert_eq!(sent.len(), 3);
        assert!(sent[1].contains("0ld-server-token") && !sent[2].contains("0ld-server-token"));
    }

    /// All servers restarted by themselves after the data were sealed: none of them is up to be asked.
    #[tokio::test]
    async fn servers_that_are_locked_out_say_that_it_is_done() {
        for (config, done) in [
            ("token: 0ld-server-token\n", true),
            ("token: 5e7ve7\n", false),
        ] {
            let fake = Fake::new()
                .says("/v1-k3s/config", "000")
                .says("config.yaml", config)
                .says("systemctl", ENDED)
                .says("journalctl", &crate::remote::journal(&[("b", LOCKED_OUT)]));
            let world = rotating(&[("k3s-cp-1", &fake)]);
            let found = ServerToken::default()
                .check(&world, Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
        }
    }

    /// A snapshot restored with a former token, say: taken for the outcome of a rotation, it would put a third token into
    /// every configuration.
    #[tokio::test]
    async fn a_server_that_was_locked_out_before_says_nothing() {
        let locked = Fake::new()
            .says("/v1-k3s/config", "000")
            .says("config.yaml", "token: 0ld-server-token\n")
            .says("systemctl", ENDED)
            .says("journalctl", &crate::remote::journal(&[("b", LOCKED_OUT)]));
        let mut world = rotating(&[("k3s-cp-1", &locked)]);
        for (phase, done) in [
            (RotationPhase::Recorded, false),
            (RotationPhase::Begun, false),
            (RotationPhase::Sealing, true),
        ] {
            world.secrets.retired.phase = phase;
            let found = ServerToken::default()
                .check(&world, Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
        }
    }

    /// Killed right after the request, the next run must know that the data may be sealed.
    #[tokio::test]
    async fn that_the_data_are_being_sealed_is_on_record_before_k3s_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::create("home").unwrap();
        state.secrets.renew(true).unwrap();
        state.save(dir.path()).unwrap();
        let runs = server(["401", "403"]).answers("/v1-k3s/token", 7, "000");
        let mut world = rotating(&[("k3s-cp-1", &runs)]);
        world.secrets.retired.phase = RotationPhase::Begun;
        let step = ServerToken::new(dir.path().to_owned());
        step.apply(&world, &permit()).await.unwrap_err();
        let state = State::open(dir.path()).unwrap().unwrap();
        assert_eq!(state.secrets.retired.phase, RotationPhase::Sealing);
    }

    /// k3s listens before it reads its data: a server that is locked out lets in for a moment, and then it is gone.
    #[tokio::test]
    async fn a_server_that_is_starting_is_asked_for_nothing() {
        let starts = ENDED.replace("auto-restart", "start");
        for (unit, lines, done) in [
            (ENDED, vec![("b", LOCKED_OUT)], true),
            (&*starts, vec![("b", LOCKED_OUT), ("c", "x")], true),
            (&*starts, vec![("c", "x")], false),
        ] {
            let locked = Fake::new()
                .says_first("/v1-k3s/config", "401")
                .says_first("/v1-k3s/config", "403")
                .says("/v1-k3s/config", "000")
                .says("config.yaml", "token: 0ld-server-token\n")
                .says("systemctl", unit)
                .says("journalctl", &crate::remote::journal(&lines));
            let world = rotating(&[("k3s-cp-1", &locked)]);
            let step = ServerToken::default();
            let found = step.check(&world, Phase::Before).await.unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
            step.apply(&world, &permit()).await.unwrap();
            assert!(!locked.was_told("/v1-k3s/token"));
        }
    }

    /// Its data are sealed with the new token, whatever those go by that still run.
    #[tokio::test]
    async fn one_server_that_is_locked_out_says_that_it_is_done() {
        let locked = Fake::new()
            .says("/v1-k3s/config", "000")
            .says("config.yaml", "token: 0ld-server-token\n")
            .says("systemctl", ENDED)
            .says("journalctl", &crate::remote::journal(&[("b", LOCKED_OUT)]));
        let runs = server(["401", "403"]);
        let world = rotating(&[("k3s-cp-1", &runs), ("k3s-cp-2", &locked)]);
        let found = ServerToken::default()
            .check(&world, Phase::Before)
            .await
            .unwrap();
        assert!(matches!(found, Finding::Done(_)), "{found:?}");
    }
}
