//! One host of several that would do: the first that answers, without a question where one can be done without.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::Context;
use super::context::{self, StateDir, key_policy};
use crate::cli::Global;
use crate::config::Config;
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet;
use crate::remote::Machine;
use crate::remote::ssh::unasked;
use crate::world::World;

/// How long one host is waited for before the next is tried beside it: what is off on a LAN does not answer at all.
const HEAD_START: Duration = Duration::from_secs(1);

/// A cluster seen from the first of the control plane's hosts that answers and has a server whose API is ready; its plan has the
/// servers of that host alone.
pub(super) async fn of_control_plane(global: &Global, config: Config) -> Result<Context, Failures> {
    let home = StateDir::of(&config.name)?;
    let (state, plan) = context::known(&home, &config.name)?;
    let servers = plan.servers.iter().map(|server| server.host.as_str());
    let hosts = config.hosts.iter();
    let hosts: Vec<&str> = hosts
        .map(|host| host.name.as_str())
        .filter(|name| servers.clone().any(|host| host == *name))
        .collect();
    let connect = async |name: &str| -> Result<Machine> {
        let host = config.host(name).ok_or_else(|| none_left(&config.name))?;
        fleet::one(host, &key_policy(global)).await
    };
    let seen_from = async |name: &str| -> Result<World> {
        let machine = Arc::new(connect(name).await?);
        let machines = [(name.to_owned(), machine)].into();
        let mut here = plan.clone();
        here.servers.retain(|server| server.host == name);
        let world = World::new(here, state.secrets.clone(), machines);
        // A server that can be reached may have an API that is not ready, and another host one that is.
        let kubernetes = world.kubernetes().await?;
        let ready = kubernetes.ready().await?;
        ready.map_err(|why| {
            let what = format!("the API on {} is not ready", kubernetes.server.name());
            Failure::new(Code::Kubernetes, what).because(why)
        })?;
        Ok(world)
    };
    if hosts.is_empty() {
        return Err(none_left(&config.name).into());
    }
    let world = first(&hosts, seen_from).await?;
    Ok(Context { home, world })
}

fn none_left(cluster: &str) -> Failure {
    Failure::new(
        Code::PlanConflict,
        format!("no host of cluster.toml runs a server of {cluster}"),
    )
    .hint("slicer-k3s status compares cluster.toml with the cluster")
}

/// Whether a person could have answered what this failed by.
fn was_a_question(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::Sudo | Code::HostKeyUnknown | Code::SshAuth
    )
}

/// What the first host gives that gives it unasked; a host that has a question is asked only where none does, and one after the other.
async fn first<T>(hosts: &[&str], of: impl AsyncFn(&str) -> Result<T>) -> Result<T, Failures> {
    if let [only] = hosts {
        return of(only).await.map_err(Failures::from);
    }
    let mut failures: Vec<(&str, Failure)> = Vec::new();
    let (of, mut others) = (&of, hosts.iter());
    let mut tried = FuturesUnordered::new();
    loop {
        let next = others.next();
        tried.extend(next.map(|host| async move { (*host, unasked(of(host)).await) }));
        let answer = match next {
            Some(_) => tokio::time::timeout(HEAD_START, tried.next()).await,
            None => Ok(tried.next().await),
        };
        match answer {
            Ok(Some((_, Ok(found)))) => return Ok(found),
            Ok(Some((host, Err(failure)))) => failures.push((host, failure)),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    failures.sort_by_key(|(host, _)| hosts.iter().position(|other| other == host));
    for (host, failure) in &mut failures {
        if was_a_question(failure) {
            match of(host).await {
                Ok(found) => return Ok(found),
                Err(now) => *failure = now,
            }
        }
    }
    Err(failures.into_iter().map(|(_, failure)| failure).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::remote::ssh::is_unasked;

    /// What a host does that is connected to.
    #[derive(Clone, Copy)]
    enum Does {
        Answer,
        Refuse,
        Hang,
        Ask,
    }

    /// What the first host gave, which failed, and which asked a person.
    async fn tried(hosts: &[(&str, Does)]) -> (Option<String>, usize, Vec<String>) {
        let asked = Mutex::new(Vec::new());
        let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
        let of = async |name: &str| {
            let (_, does) = hosts.iter().find(|(host, _)| *host == name).unwrap();
            match does {
                Does::Answer => Ok(name.to_owned()),
                Does::Refuse => Err(Failure::new(Code::SshUnreachable, "refused")),
                Does::Hang => {
                    tokio::time::sleep(Duration::from_secs(15)).await;
                    Err(Failure::new(Code::SshUnreachable, "no answer"))
                }
                // As a sudo password is asked for.
                Does::Ask if is_unasked() => Err(Failure::new(Code::Sudo, "sudo wants a password")),
                Does::Ask => {
                    asked.lock().unwrap().push(name.to_owned());
                    Ok(name.to_owned())
                }
            }
        };
        let found = first(&names, of).await;
        let failed = found.as_ref().err().map_or(0, Vec::len);
        (found.ok(), failed, asked.into_inner().unwrap())
    }

    /// `kubectl get nodes` waited 15 s for a host that was off and asked for the password of another, beside a third that answered.
    #[tokio::test(start_paused = true)]
    async fn the_first_host_that_answers_unasked_is_taken() {
        use Does::{Answer, Ask, Hang, Refuse};
        let begin = tokio::time::Instant::now();
        let found = tried(&[("off", Hang), ("desktop", Ask), ("n100", Answer)]).await;
        assert_eq!(found, (Some("n100".into()), 0, vec![]));
        assert!(begin.elapsed() < Duration::from_secs(2));

        let found = tried(&[("off", Refuse), ("desktop", Ask), ("laptop", Ask)]).await;
        assert_eq!(found, (Some("desktop".into()), 0, vec!["desktop".into()]));
        assert_eq!(
            tried(&[("a", Refuse), ("b", Hang)]).await,
            (None, 2, vec![])
        );
        let found = tried(&[("desktop", Ask)]).await;
        assert_eq!(found.2, ["desktop"], "an only host is asked at once");
    }
}
