//! Restarts that take servers down come one after the other, with etcd's quorum looked at before and after each.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::kubernetes::{Kubernetes, condition};
use crate::names::k3s::VOTES;
use crate::names::kubernetes::TRUE;
use crate::plan::{Daemon, Server};
use crate::question::limited;
use crate::remote::Machine;
use crate::steps::restart::has_read::Process;
use crate::steps::rotation::old_token_refused;
use crate::world::World;

/// How long a server may take to vote again: a VM's boot, k3s's start and etcd's catching up.
const RETURN: Duration = Duration::from_mins(5);

/// Servers that lose their leader do not answer until they have elected another, which takes two of k3s's election timeouts of
/// 5 s at most: only who is without a quorum for longer has lost it.
const ELECTION: Duration = Duration::from_secs(15);

/// Between two looks at the servers.
const SECOND: Duration = Duration::from_secs(1);

/// Shared by the steps of one run that restart servers.
#[derive(Clone, Default)]
pub(crate) struct RollingRestart {
    one: Arc<Mutex<()>>,
    /// How long servers that do not vote are waited for.
    timeout: Duration,
    /// Join tokens are replaced: those that have restarted are asked before the next one does.
    rotating: bool,
    /// Servers that did not vote before the run, where the person allowed that the quorum is lost for want of them.
    without: Arc<[String]>,
}

/// How a restart of some servers would find the cluster.
struct Votes {
    /// Those of the servers that vote.
    voted: Vec<Server>,
    /// Whether there is a quorum that could be lost.
    quorum: bool,
    /// The servers that do not vote and for want of which the quorum would be lost, and the refusal that says so.
    risk: Option<(Vec<Server>, Failure)>,
}

/// The turn of one restart; whoever holds it restarts alone.
pub(crate) struct RestartSlot {
    /// Those of the servers that voted before: they must do so again.
    voted: Vec<Server>,
    _alone: OwnedMutexGuard<()>,
}

impl RollingRestart {
    /// Of a run that restarts servers to have them read their configuration. `without`: servers that did not vote before it,
    /// where the person allowed that etcd loses its quorum for want of them. One that this run has restarted is none of those:
    /// what kept it from coming back would keep the next one.
    pub(crate) fn of_a_run(without: &[String]) -> Self {
        Self {
            timeout: RETURN,
            without: without.into(),
            ..Self::default()
        }
    }

    /// Of a rotation of join tokens: servers may be on their way back by what has been changed already, and no restart comes
    /// before each server that has restarted goes by the new tokens alone.
    pub(crate) fn of_a_rotation() -> Self {
        Self {
            timeout: RETURN,
            rotating: true,
            ..Self::default()
        }
    }

    /// Waits for a turn to take these servers down. Refused where the cluster has a quorum and would lose it, unless all
    /// servers go down together, for then there is no other way. That there is none is asked twice. A server that comes back is
    /// waited for, and the turn is free meanwhile: it may need one itself.
    pub(crate) async fn take(&self, world: &World, leaving: &[Server]) -> Result<RestartSlot> {
        let begin = Instant::now();
        let mut lost = false;
        loop {
            let alone = Arc::clone(&self.one).lock_owned().await;
            let over = begin.elapsed() >= self.timeout;
            let pause = match self.votes(world, leaving).await {
                Ok(Votes {
                    voted,
                    quorum,
                    risk,
                }) => match risk {
                    None if quorum || lost => {
                        return Ok(RestartSlot {
                            voted,
                            _alone: alone,
                        });
                    }
                    None => {
                        lost = true;
                        ELECTION
                    }
                    Some((lacking, _)) if self.goes_without(world, &lacking, over) => {
                        return Ok(RestartSlot {
                            voted,
                            _alone: alone,
                        });
                    }
                    Some((_, refused)) if over => return Err(refused),
                    Some(_) => {
                        lost = false;
                        SECOND
                    }
                },
                Err(refused) if over => return Err(refused),
                Err(_) => {
                    lost = false;
                    SECOND
                }
            };
            drop(alone);
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether these servers, for want of which the quorum is lost, were given up before the run: at once where their hosts are
    /// off, else when the wait for them is `over`.
    fn goes_without(&self, world: &World, lacking: &[Server], over: bool) -> bool {
        lacking.iter().all(|server| {
            let off = world.plan.host(&server.host).is_none();
            self.without.contains(&server.name) && (over || off)
        })
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
                (false, Err(why)) => lacking.push((server.clone(), why)),
            }
        }
        let all = world.plan.servers.len();
        let quorum = all / 2 + 1;
        let together = leaving.len() >= all;
        let has_one = voted.len() + staying >= quorum;
        let risk = (!together && has_one && staying < quorum).then(|| {
            let names: Vec<&str> = leaving.iter().map(|server| server.name.as_str()).collect();
            let whys = lacking
                .iter()
                .map(|(server, why)| format!("{}: {why}", server.name));
            let failure = Failure::new(
                Code::QuorumAtRisk,
                format!("a restart of {} now would stop etcd", names.join(", ")),
            )
            .because(format!(
                "{staying} of {all} servers would be left to vote, {quorum} are needed; {}",
                whys.collect::<Vec<_>>().join("; ")
            ))
            .hint("slicer-k3s kubectl get nodes: bring the others back, then run again");
            let lacking = lacking.into_iter().map(|(server, _)| server).collect();
            (lacking, failure)
        });
        Ok(Votes {
            voted,
            quorum: has_one || together,
            risk,
        })
    }

    /// A turn to restart a daemon, where that reboots servers: `None` where none are its.
    pub(crate) async fn take_for(
        &self,
        world: &World,
        daemon: &Daemon,
    ) -> Result<Option<RestartSlot>> {
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

impl RestartSlot {
    /// Waits until the restarted process on this machine has read its configuration, and the servers that voted do so again; only
    /// then may the next restart come.
    pub(crate) async fn end(
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
    let Some(why) = old_token_refused::lacks(world, server).await? else {
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

/// The servers that do not vote now, or do not answer within `limit`.
pub(crate) async fn silent(world: &World, limit: Duration) -> Vec<Server> {
    let asked = world.plan.servers.iter().map(|server| async move {
        let answer = limited(limit, votes(world, server)).await;
        (!matches!(answer, Ok(Ok(())))).then(|| server.clone())
    });
    join_all(asked).await.into_iter().flatten().collect()
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
mod tests;
