//! Restarts that take servers down come one after the other, with etcd's quorum looked at before and after each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::has_read::Process;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::{Kubernetes, condition};
use crate::plan::{Daemon, Server};
use crate::remote::Machine;
use crate::world::World;

/// How long a server may take to vote again: a VM's boot, k3s's start and etcd's catching up.
const RETURN: Duration = Duration::from_mins(5);

/// Shared by the steps of one run that restart servers.
#[derive(Clone, Default)]
pub(super) struct Turns {
    one: Arc<Mutex<()>>,
    /// How long servers that do not vote are waited for.
    patience: Duration,
}

/// The turn of one restart; whoever holds it restarts alone.
pub(super) struct Turn {
    /// Those of the servers that voted before: they must do so again.
    voted: Vec<Server>,
    _alone: OwnedMutexGuard<()>,
}

impl Turns {
    /// Where servers may be on their way back by what the run has changed already.
    pub(super) fn patient() -> Self {
        Self {
            patience: RETURN,
            ..Self::default()
        }
    }

    /// Waits for a turn to take these servers down. Refused where the cluster has a quorum and would lose it, unless all
    /// servers go down together, for then there is no other way.
    pub(super) async fn take(&self, world: &World, leaving: &[Server]) -> Result<Turn> {
        let alone = Arc::clone(&self.one).lock_owned().await;
        let begin = Instant::now();
        loop {
            match Self::voters(world, leaving).await {
                Ok(voted) => {
                    return Ok(Turn {
                        voted,
                        _alone: alone,
                    });
                }
                Err(refused) if begin.elapsed() >= self.patience => return Err(refused),
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// Those of the servers that vote, where the others can do without them.
    async fn voters(world: &World, leaving: &[Server]) -> Result<Vec<Server>> {
        let (mut voted, mut staying, mut lacking) = (Vec::new(), 0, Vec::new());
        for server in &world.plan.servers {
            let state = votes(world, server).await;
            match (leaving.contains(server), state) {
                (true, Ok(())) => voted.push(server.clone()),
                (true, Err(_)) => {}
                (false, Ok(())) => staying += 1,
                (false, Err(why)) => lacking.push(format!("{}: {why}", server.name)),
            }
        }
        let all = world.plan.servers.len();
        let quorum = all / 2 + 1;
        let has_one = voted.len() + staying >= quorum;
        if leaving.len() < all && has_one && staying < quorum {
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
        Ok(voted)
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

/// Whether a server's own API is ready, which asks its own etcd member, and that member votes; the reason where not.
async fn votes(world: &World, server: &Server) -> Result<(), String> {
    let machine = world.server(server).await.map_err(|e| e.to_string())?;
    let kubernetes = Kubernetes {
        server: Arc::clone(machine),
    };
    kubernetes.ready().await.map_err(|e| e.to_string())??;
    let node = kubernetes.get(&["node", &server.name]).await;
    let node = node.map_err(|e| e.to_string())?.unwrap_or_default();
    match condition(&node, "EtcdIsVoter") {
        Some("True") => Ok(()),
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
