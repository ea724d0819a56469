//! Whether a server's API can be asked, where something may be done without it: only if each server is off or silent.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::deletion::is_down;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::question::limited;
use crate::world::World;

/// A server that has not answered by then is silent.
const LIMIT: Duration = Duration::from_secs(20);

/// The cluster's API.
pub(crate) enum Api {
    /// On a server that is ready.
    Ready(Kubernetes),
    /// No server runs it, and why as far as one says.
    Down(String),
}

/// Asks all servers at once. A server that refuses us is a failure: it may run, and what depends on it with it.
pub(crate) async fn api(world: &World) -> Result<Api> {
    let servers = world.plan.servers.iter();
    let asked = servers.map(|server| async move {
        let ask = async {
            let machine = Arc::clone(world.server(server).await?);
            let kubernetes = Kubernetes::on(machine);
            let ready = kubernetes.ready().await?;
            Ok(ready.map(|()| kubernetes))
        };
        let Ok(answer) = limited(LIMIT, ask).await else {
            let what = format!("{} does not answer", server.name);
            return Err(Failure::new(Code::SshUnreachable, what));
        };
        answer
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let (mut why, mut refused) = (None, None);
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(Ok(kubernetes)) => return Ok(Api::Ready(kubernetes)),
            Ok(Err(unready)) => drop(why.get_or_insert(unready)),
            Err(failure) if is_down(&failure) => drop(why.get_or_insert(failure.to_string())),
            Err(failure) => drop(refused.get_or_insert(failure)),
        }
    }
    match refused {
        Some(failure) => Err(failure),
        None => Ok(Api::Down(
            why.unwrap_or_else(|| "there is no server".to_owned()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    /// Slicer's API says nothing of the host keys of `n100`'s servers but this status.
    fn host(status: i32) -> Fake {
        Fake::new()
            .says("auth/token", "t0ken\n")
            .answers("POST /vm/", status, "{}")
    }

    #[tokio::test(start_paused = true)]
    async fn one_ready_server_is_enough_and_a_refusal_is_not_silence() {
        let ready = Fake::new().says("/readyz", "ok");
        let unready = Fake::new().says("/readyz", "[-]etcd failed");
        let (silent, refuses) = (host(503), host(401));
        let third = world(&[("n100", &silent), ("k3s-cp-3", &ready)]);
        assert!(matches!(api(&third).await.unwrap(), Api::Ready(_)));
        let down = world(&[("n100", &silent), ("k3s-cp-1", &unready)]);
        assert!(matches!(api(&down).await.unwrap(), Api::Down(_)));
        // Its host is off.
        assert!(matches!(api(&world(&[])).await.unwrap(), Api::Down(_)));
        // Slicer was removed from its host: the autoscaler was waited for in each `destroy`, and none could end.
        for token in [Fake::new().answers("auth/token", 1, ""), Fake::new()] {
            let purged = world(&[("n100", &token), ("k3s-cp-1", &unready)]);
            assert!(matches!(api(&purged).await.unwrap(), Api::Down(_)));
        }
        let locked_out = world(&[("n100", &refuses), ("k3s-cp-1", &unready)]);
        let failure = api(&locked_out).await.err().unwrap();
        assert_eq!(failure.code, Code::SlicerToken);
    }
}
