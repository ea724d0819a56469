//! Whose API is asked about the cluster: the first server whose own API is ready. It is remembered for the run, until it fails.
//! A server that is dead or hangs costs a run one head start, for it is asked last from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::World;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::plan::Server;
use crate::remote::Machine;

/// How long one server is waited for before the next is tried beside it.
const HEAD_START: Duration = Duration::from_secs(2);

/// A server that can be reached says within this time whether its API is ready.
const ANSWER: Duration = Duration::from_secs(6);

/// Once all were asked and one can be reached, the others have this long to be ready.
const REST: Duration = Duration::from_secs(5);

/// The longest wait for servers of which none can be reached.
const LONGEST: Duration = Duration::from_mins(2);

/// The server that was chosen, and those that were found wanting.
#[derive(Default)]
pub(super) struct Choice(Mutex<Readiness>);

#[derive(Default)]
struct Readiness {
    chosen: Option<Chosen>,
    /// Servers that failed or kept the run waiting: they are asked after the others.
    last: Vec<String>,
    /// When it was last found that none is ready, and what was found instead: whoever has waited since then waited for it.
    instead: Option<(Instant, Instead)>,
}

/// What there is where no server is ready.
#[derive(Clone)]
enum Instead {
    /// A server that can be reached, by its place in the plan, and what its API lacks.
    Reached(usize, String),
    Failed(Failure),
}

impl Readiness {
    fn put_last(&mut self, server: &Server) {
        if !self.last.contains(&server.name) {
            self.last.push(server.name.clone());
        }
    }
}

/// A server, by its place in the plan.
#[derive(Clone)]
struct Chosen {
    place: usize,
    /// Set as soon as its API fails.
    failed: Arc<AtomicBool>,
}

/// How one server answered.
enum Answer<'w> {
    Ready(&'w Arc<Machine>),
    /// It can be reached, and its API is not ready.
    Reached(String),
}

/// What was found among all servers.
enum Found<'w> {
    Ready(&'w Arc<Machine>, Arc<AtomicBool>),
    /// None is ready; the first that can be reached, and what its API lacks.
    Reached(&'w Arc<Machine>, String),
}

impl World {
    /// The cluster's API on the server that [`World::first_server`] finds.
    pub async fn kubernetes(&self) -> Result<Kubernetes> {
        Ok(match self.choose().await? {
            Found::Ready(server, failed) => Kubernetes::watched(Arc::clone(server), failed),
            Found::Reached(server, _) => Kubernetes::on(Arc::clone(server)),
        })
    }

    /// The first server whose API is ready, as it was found in this run. Where none is, the first that can be reached: what is
    /// wrong with its API is then said by that itself. Whoever sees it fail says so: see [`World::failed`].
    pub async fn first_server(&self) -> Result<&Arc<Machine>> {
        match self.choose().await? {
            Found::Ready(server, _) | Found::Reached(server, _) => Ok(server),
        }
    }

    /// Says that what was asked of a server without Kubernetes' API failed: where it is the one that was chosen, another one is
    /// chosen next.
    pub async fn failed(&self, server: &Machine) {
        let standing = self.choice.0.lock().await;
        if let Some(chosen) = &standing.chosen
            && self.plan.servers[chosen.place].name == server.name()
        {
            chosen.failed.store(true, Ordering::Relaxed);
        }
    }

    /// As [`World::first_server`], and a failure where none is ready.
    pub async fn ready_server(&self) -> Result<&Arc<Machine>> {
        match self.choose().await? {
            Found::Ready(server, _) => Ok(server),
            Found::Reached(server, why) => {
                let what = format!("no server's API is ready, {}'s neither", server.name());
                Err(Failure::new(Code::K3sStart, what).because(why))
            }
        }
    }

    async fn choose(&self) -> Result<Found<'_>> {
        let asked = Instant::now();
        let mut standing = self.choice.0.lock().await;
        if let Some(Chosen { place, failed }) = standing.chosen.take() {
            let server = &self.plan.servers[place];
            if failed.load(Ordering::Relaxed) {
                standing.put_last(server);
            } else {
                // Connected already: it answered.
                let machine = self.server(server).await?;
                standing.chosen = Some(Chosen {
                    place,
                    failed: Arc::clone(&failed),
                });
                return Ok(Found::Ready(machine, failed));
            }
        }
        let instead = match &standing.instead {
            Some((ended, instead)) if *ended > asked => instead.clone(),
            _ => match self.race(&mut standing).await {
                Ok((machine, chosen)) => {
                    let failed = Arc::clone(&chosen.failed);
                    standing.chosen = Some(chosen);
                    return Ok(Found::Ready(machine, failed));
                }
                Err(instead) => {
                    standing.instead = Some((Instant::now(), instead.clone()));
                    instead
                }
            },
        };
        match instead {
            Instead::Failed(failure) => Err(failure),
            Instead::Reached(place, lacks) => {
                let machine = self.server(&self.plan.servers[place]).await?;
                Ok(Found::Reached(machine, lacks))
            }
        }
    }

    /// Asks the servers side by side, each a head start after the one before, until one is ready.
    async fn race(&self, standing: &mut Readiness) -> Result<(&Arc<Machine>, Chosen), Instead> {
        let servers = || self.plan.servers.iter().enumerate();
        let is_last = |(_, server): &(usize, &Server)| standing.last.contains(&server.name);
        let (last, first): (Vec<_>, Vec<_>) = servers().partition(is_last);
        let mut others = first.into_iter().chain(last);
        let mut asked = FuturesUnordered::new();
        let mut reached = None;
        let mut failed: Option<Failure> = None;
        loop {
            let next = others.next();
            asked.extend(
                next.map(|(place, server)| async move { (place, self.answer(server).await) }),
            );
            let limit = match (next, &reached) {
                (Some(_), _) => HEAD_START,
                (None, Some(_)) => REST,
                (None, None) => LONGEST,
            };
            let Ok(answer) = tokio::time::timeout(limit, asked.next()).await else {
                let Some((_, late)) = next else { break };
                standing.put_last(late);
                continue;
            };
            let Some((place, answer)) = answer else { break };
            match answer {
                Ok(Answer::Ready(machine)) => {
                    let failed = Arc::default();
                    return Ok((machine, Chosen { place, failed }));
                }
                Ok(Answer::Reached(lacks)) => {
                    reached.get_or_insert(Instead::Reached(place, lacks));
                }
                // One that waiting may cure goes before one that it cannot: that server is waited for.
                Err(failure) => match &failed {
                    Some(before) if !before.is_permanent() || failure.is_permanent() => {}
                    _ => failed = Some(failure),
                },
            }
            standing.put_last(&self.plan.servers[place]);
        }
        Err(reached.unwrap_or_else(|| {
            Instead::Failed(failed.unwrap_or_else(|| {
                if self.plan.servers.is_empty() {
                    return Failure::new(Code::Kubernetes, "no server in the plan").permanent();
                }
                Failure::new(Code::Kubernetes, "no server answers")
                    .because(format!("nothing within {} s", LONGEST.as_secs()))
            }))
        }))
    }

    async fn answer(&self, server: &Server) -> Result<Answer<'_>> {
        let machine = self.server(server).await?;
        let kubernetes = Kubernetes::on(Arc::clone(machine));
        let ready = tokio::time::timeout(ANSWER, kubernetes.ready()).await;
        let ready = ready.map_err(|_| {
            let what = format!("{} does not answer", server.name);
            Failure::new(Code::Kubernetes, what)
                .because(format!("nothing within {} s", ANSWER.as_secs()))
        })?;
        Ok(match ready? {
            Ok(()) => Answer::Ready(machine),
            Err(lacks) => Answer::Reached(lacks),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::remote::Sudo;
    use crate::testing::{Fake, Hangs, machine, plan, secrets, world};

    const NODE: &str = r#"{"kind":"Node"}"#;

    /// add-host, remove-host, prove and kubectl failed with two servers that were fine.
    #[tokio::test(start_paused = true)]
    async fn a_server_whose_api_is_not_ready_is_passed_over() {
        let sick = Fake::new().says("/readyz", "[-]etcd failed: reason withheld\n");
        let well = Fake::new().says("/nodes/", NODE);
        let world = world(&[("k3s-cp-1", &sick), ("k3s-cp-2", &well)]);
        for _ in 0..10 {
            let kubernetes = world.kubernetes().await.unwrap();
            assert!(kubernetes.get(&["node", "a"]).await.unwrap().is_some());
            assert_eq!(world.first_server().await.unwrap().name(), "k3s-cp-2");
        }
        // Asked once: it is remembered that the other one is ready.
        assert_eq!(sick.told().len(), 1);
    }

    /// While the first server's VM hung, each look took 20 to 40 s.
    #[tokio::test(start_paused = true)]
    async fn a_first_server_that_hangs_costs_a_run_one_head_start() {
        let well = Fake::new().says("/nodes/", NODE);
        let world = world(&[("k3s-cp-2", &well)]);
        let hangs = Machine::new("k3s-cp-1", Box::new(Hangs), Sudo::Root);
        world.put_server("k3s-cp-1", Arc::new(hangs));
        let begin = Instant::now();
        for _ in 0..10 {
            let kubernetes = world.kubernetes().await.unwrap();
            assert!(kubernetes.get(&["node", "a"]).await.unwrap().is_some());
        }
        assert!(
            begin.elapsed() <= HEAD_START + Duration::from_secs(1),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_remembered_one_fails_the_next_is_taken() {
        let first = Fake::new().answers("/nodes/", 7, "");
        let second = Fake::new().says("/nodes/", NODE);
        let world = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &second)]);
        let kubernetes = world.kubernetes().await.unwrap();
        assert_eq!(kubernetes.server.name(), "k3s-cp-1");
        assert!(kubernetes.get(&["node", "a"]).await.is_err());
        let kubernetes = world.kubernetes().await.unwrap();
        assert_eq!(kubernetes.server.name(), "k3s-cp-2");
        assert!(kubernetes.get(&["node", "a"]).await.unwrap().is_some());
    }

    /// Whoever asks hears from the API itself what it lacks, and a step that must have one waits.
    #[tokio::test(start_paused = true)]
    async fn where_none_is_ready_one_that_can_be_reached_is_asked_all_the_same() {
        let sick = Fake::new().says("/readyz", "[-]etcd failed: reason withheld\n");
        let host = Arc::new(machine("n100", Fake::new()));
        let hosts = HashMap::from([("n100".to_owned(), host)]);
        let world = World::new(plan(), secrets(), hosts);
        world.put_server("k3s-cp-2", Arc::new(machine("k3s-cp-2", sick)));
        let hangs = Machine::new("k3s-cp-1", Box::new(Hangs), Sudo::Root);
        world.put_server("k3s-cp-1", Arc::new(hangs));
        assert_eq!(world.first_server().await.unwrap().name(), "k3s-cp-2");
        let failure = world.ready_server().await.map(drop).unwrap_err();
        assert!(failure.to_string().contains("etcd"), "{failure}");
        assert!(!failure.is_permanent());
    }

    /// Ten steps that wait for a server find out together that there is none.
    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_servers_that_hang_wait_once() {
        let world = world(&[]);
        for server in ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"] {
            let hangs = Machine::new(server, Box::new(Hangs), Sudo::Root);
            world.put_server(server, Arc::new(hangs));
        }
        let begin = Instant::now();
        let asked = (0..10).map(|_| world.kubernetes());
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_err));
        let longest = 3 * HEAD_START + ANSWER;
        assert!(begin.elapsed() <= longest, "{:?}", begin.elapsed());
    }

    /// With all of them off, what is said is why.
    #[tokio::test(start_paused = true)]
    async fn the_original_failure_of_an_absent_host_is_what_is_reported() {
        let refused = Failure::new(Code::SshUnreachable, "cannot connect to n100");
        let world = world(&[]).without([("n100".to_owned(), refused)]);
        let failure = world.kubernetes().await.map(drop).unwrap_err();
        assert_eq!(failure.what, "cannot connect to n100");
    }
}
