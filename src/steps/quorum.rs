//! Restarts that take servers down come one after the other, with etcd's quorum looked at before and after each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::has_read::Process;
use super::rotation::old_refused;
use crate::failure::{Code, Failure, Result};
use crate::k3s::VOTES;
use crate::kubernetes::{Kubernetes, TRUE, condition};
use crate::plan::{Daemon, Server};
use crate::remote::Machine;
use crate::world::World;

/// How long a server may take to vote again: a VM's boot, k3s's start and etcd's catching up.
const RETURN: Duration = Duration::from_mins(5);

/// Servers that lose their leader do not answer until they have elected another, which takes two of k3s's election timeouts of
/// 5 s at most: only who is without a quorum for longer has lost it.
const ELECTION: Duration = Duration::from_secs(15);

/// Shared by the steps of one run that restart servers.
#[derive(Clone, Default)]
pub(super) struct Turns {
    one: Arc<Mutex<()>>,
    /// How long servers that do not vote are waited for.
    patience: Duration,
    /// Join tokens are replaced: those that have restarted are asked before the next one does.
    rotating: bool,
}

/// How a restart of some servers would find the cluster.
struct Votes {
    /// Those of the servers that vote.
    voted: Vec<Server>,
    /// Whether there is a quorum that could be lost.
    quorum: bool,
}

/// The turn of one restart; whoever holds it restarts alone.
pub(super) struct Turn {
    /// Those of the servers that voted before: they must do so again.
    voted: Vec<Server>,
    _alone: OwnedMutexGuard<()>,
}

impl Turns {
    /// Of a rotation of join tokens: servers may be on their way back by what has been changed already, and no restart comes
    /// before each server that has restarted goes by the new tokens alone.
    pub(super) fn of_a_rotation() -> Self {
        Self {
            patience: RETURN,
            rotating: true,
            ..Self::default()
        }
    }

    /// Waits for a turn to take these servers down. Refused where the cluster has a quorum and would lose it, unless all
    /// servers go down together, for then there is no other way. That there is none is asked twice.
    pub(super) async fn take(&self, world: &World, leaving: &[Server]) -> Result<Turn> {
        let alone = Arc::clone(&self.one).lock_owned().await;
        let begin = Instant::now();
        let mut lost = false;
        loop {
            match self.votes(world, leaving).await {
                Ok(Votes { voted, quorum }) if quorum || lost => {
                    return Ok(Turn {
                        voted,
                        _alone: alone,
                    });
                }
                Ok(_) => {
                    lost = true;
                    tokio::time::sleep(ELECTION).await;
                    continue;
                }
                Err(refused) if begin.elapsed() >= self.patience => return Err(refused),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
            lost = false;
        }
    }

    /// Those of the servers that vote, where the others can do without them.
    async fn votes(&self, world: &World, leaving: &[Server]) -> Result<Votes> {
        let (mut voted, mut staying, mut lacking) = (Vec::new(), 0, Vec::new());
        for server in &world.plan.servers {
            let state = votes(world, server).await;
            if self.rotating && state.is_ok() && !leaving.contains(server) {
                goes_by_the_new_tokens(world, server).await?;
            }
            match (leaving.contains(server), state) {
                (true, Ok(())) => voted.push(server.clone()),
                (true, Err(_)) => {}
                (false, Ok(())) => staying += 1,
                (false, Err(why)) => lacking.push(format!("{}: {why}", server.name)),
            }
        }
        let all = world.plan.servers.len();
        let quorum = all / 2 + 1;
        let together = leaving.len() >= all;
        let has_one = voted.len() + staying >= quorum;
        if !together && has_one && staying < quorum {
            let names: Vec<&str> = leaving.iter().map(|server| server.name.as_str()).collect();
            return Err(Failure::new(
                Code::PlanConflict,
                format!("a restart of {} now would stop etcd", names.join(", ")),
            )
            .because(format!(
                "{staying} of {all} servers would be left to vote, {quorum} are needed; {}",
                lacking.join("; ")
            ))
            .hint("slicer-k3s kubectl get nodes: bring the others back, then run again"));
        }
        Ok(Votes {
            voted,
            quorum: has_one || together,
        })
    }

    /// A turn to restart a daemon, where that reboots servers: `None` where none are its.
    pub(super) async fn take_for(&self, world: &World, daemon: &Daemon) -> Result<Option<Turn>> {
        let servers = world.plan.servers.iter();
        let its: Vec<Server> = servers
            .filter(|server| server.group == daemon.group)
            .cloned()
            .collect();
        if its.is_empty() {
            return Ok(None);
        }
        self.take(world, &its).await.map(Some)
    }
}

impl Turn {
    /// Waits until the restarted process on this machine has read its configuration, and the servers that voted do so again; only
    /// then may the next restart come.
    pub(super) async fn end(
        self,
        world: &World,
        machine: &Machine,
        process: Process<'_>,
    ) -> Result<()> {
        let begin = Instant::now();
        let mut open = self.voted.iter().peekable();
        loop {
            let why = match (process.has_read(world, machine).await, open.peek()) {
                (Err(failure), _) => failure.to_string(),
                (Ok(false), _) => format!("{} has not restarted yet", process.unit()),
                (Ok(true), None) => return Ok(()),
                (Ok(true), Some(server)) => {
                    let Err(why) = votes(world, server).await else {
                        open.next();
                        continue;
                    };
                    format!("{} does not vote: {why}", server.name)
                }
            };
            if begin.elapsed() >= RETURN {
                return Err(Failure::new(
                    Code::K3sStart,
                    "a restart did not bring the servers back",
                )
                .because(format!("after {} s: {why}", RETURN.as_secs()))
                .hint(
                    "slicer-k3s kubectl get nodes; on the server: sudo journalctl -u k3s -n 50",
                ));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Refuses where a server that was restarted for new join tokens does not accept them, or accepts the old ones.
async fn goes_by_the_new_tokens(world: &World, server: &Server) -> Result<()> {
    let machine = world.server(server).await?;
    if !Process::Server(server).has_read(world, machine).await? {
        return Ok(());
    }
    let Some(why) = old_refused::lacks(world, server).await? else {
        return Ok(());
    };
    Err(Failure::new(
        Code::Kubernetes,
        format!("{} was restarted for new tokens: {why}", server.name),
    )
    .because("the next server restarts only when it accepts the new ones and refuses the old ones")
    .hint(format!(
        "on {}: sudo journalctl -u k3s -n 50; then run again",
        server.name
    )))
}

/// Whether a server's own API is ready, which asks its own etcd member, and that member votes; the reason where not.
async fn votes(world: &World, server: &Server) -> Result<(), String> {
    let machine = world.server(server).await.map_err(|e| e.to_string())?;
    let kubernetes = Kubernetes::on(Arc::clone(machine));
    kubernetes.ready().await.map_err(|e| e.to_string())??;
    let node = kubernetes.get(&["node", &server.name]).await;
    let node = node.map_err(|e| e.to_string())?.unwrap_or_default();
    match condition(&node, VOTES) {
        Some(TRUE) => Ok(()),
        _ => Err("its etcd member does not vote".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::sha256;
    use crate::steps::daemon_config::host_yaml;
    use crate::steps::testing::{Fake, machine, plan, world};

    fn server(voter: bool) -> Fake {
        let status = if voter { "True" } else { "False" };
        Fake::new().says("readyz", "ok").says(
            "node",
            &format!(
                r#"{{"status":{{"conditions":[{{"type":"EtcdIsVoter","status":"{status}"}}]}}}}"#
            ),
        )
    }

    #[tokio::test]
    async fn a_restart_that_would_stop_etcd_is_refused() {
        let (up, down) = (server(true), server(false));
        let servers = plan().servers;
        let one = |third| world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", third)]);
        let turns = Turns::default();
        let refused = turns.take(&one(&down), &servers[..1]).await;
        let failure = refused.err().unwrap();
        assert_eq!(failure.code, Code::PlanConflict);
        assert!(failure.to_string().contains("k3s-cp-3"), "{failure}");
        // The one that is down already may be restarted, all may, and one of three that vote may.
        assert!(turns.take(&one(&down), &servers[2..]).await.is_ok());
        assert!(turns.take(&one(&down), &servers).await.is_ok());
        assert!(turns.take(&one(&up), &servers[..1]).await.is_ok());
    }

    /// After a rotation that was cut short a server comes back once its new configuration is there.
    #[tokio::test]
    async fn a_server_on_its_way_back_is_waited_for() {
        let (up, down) = (server(true), server(false));
        let back = server(true).says_first("node", r#"{"status":{"conditions":[]}}"#);
        let servers = plan().servers;
        let one = |third| world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", third)]);
        let turns = Turns {
            patience: Duration::from_secs(2),
            ..Turns::default()
        };
        assert!(turns.take(&one(&back), &servers[..1]).await.is_ok());
        assert!(turns.take(&one(&down), &servers[..1]).await.is_err());
    }

    /// While a leader is elected no server answers: a restart then would have cost the quorum.
    #[tokio::test(start_paused = true)]
    async fn a_quorum_is_lost_only_where_it_stays_away() {
        let up = server(true);
        let elects = || server(true).says_first("node", r#"{"status":{"conditions":[]}}"#);
        let down = server(false);
        let servers = plan().servers;
        let turns = Turns::default();
        // The third is down, and the second answers again: it must stay.
        let (one, two) = (elects(), elects());
        let flapping = world(&[("k3s-cp-1", &one), ("k3s-cp-2", &two), ("k3s-cp-3", &down)]);
        assert!(turns.take(&flapping, &servers[..1]).await.is_err());
        let lost = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &down), ("k3s-cp-3", &down)]);
        let begin = Instant::now();
        assert!(turns.take(&lost, &servers[1..2]).await.is_ok());
        assert!(begin.elapsed() >= ELECTION);
    }

    /// Also of a run that goes on, where no step waits for the server before.
    #[tokio::test]
    async fn who_has_restarted_for_new_tokens_is_asked_before_the_next_restarts() {
        let servers = plan().servers;
        let readings =
            crate::k3s::readings(&plan(), &servers[0], &crate::steps::testing::secrets()).unwrap();
        let (new, old) = (sha256(readings[0].as_bytes()), sha256(b"0ld"));
        for (runs_with, answers, allowed) in [
            (&new, ["200", "401"], true),
            (&new, ["200", "200"], false),
            (&new, ["401", "401"], false),
            (&old, ["401", "200"], true),
        ] {
            let up = server(true);
            let first = server(true)
                .says("environ", runs_with)
                .says_first("/v1-k3s/config", answers[0])
                .says("/v1-k3s/config", answers[1]);
            let mut world = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &up), ("k3s-cp-3", &up)]);
            world.secrets.retired.agent = Some(crate::secret::Secret::new("0ld-agent-token"));
            let turns = Turns {
                rotating: true,
                ..Turns::default()
            };
            let taken = turns.take(&world, &servers[1..2]).await;
            assert_eq!(taken.is_ok(), allowed, "{runs_with} {answers:?}");
        }
    }

    #[tokio::test]
    async fn the_next_waits_until_the_one_before_votes_again() {
        let up = server(true);
        let world = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", &up)]);
        let servers = plan().servers;
        let turns = Turns::default();
        let first = turns.take(&world, &servers[..1]).await.unwrap();
        let other = turns.clone();
        let second = other.take(&world, &servers[1..2]);
        let early = tokio::time::timeout(Duration::from_millis(50), second).await;
        assert!(early.is_err(), "two servers were down at once");
        let daemon = plan().daemons[0].clone();
        let yaml = host_yaml(&world, &daemon).unwrap().content;
        let host = machine(
            "n100",
            Fake::new().says("environ", &sha256(yaml.as_bytes())),
        );
        let process = Process::Daemon(&daemon);
        first.end(&world, &host, process).await.unwrap();
        assert!(turns.take(&world, &servers[1..2]).await.is_ok());
    }
}
