//! What a run takes down on its way. It is found while the run is planned, so that it is agreed to or refused before anything is
//! written; the steps that restart something ask once more, for what has come up since.
//!
//! A restart of k3s in turn that leaves etcd its quorum costs nothing that consent does not cover. What ends or reboots VMs, stops
//! the only server or loses the quorum takes a word of its own.

use std::time::Duration;

use futures_util::future::join_all;

use super::Options;
use super::restart::{self, RestartReason};
use super::rotation::Order;
use crate::control_plane::{ControlPlane, Start};
use crate::failure::{Code, Failure, Result};
use crate::plan::{Daemon, Plan, Server};
use crate::question::limited;
use crate::steps::restart::has_read::Process;
use crate::steps::restart::quorum;
use crate::steps::server::{k3s_started, vm_up};
use crate::steps::support::unit::Unit;
use crate::world::World;

/// How long a machine may take to say what it runs: one that does not answer runs nothing that this run restarts.
const ANSWER: Duration = Duration::from_secs(15);

/// One thing that goes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// What happens, and what it costs.
    pub what: String,
    /// Why it is refused unless an outage is allowed; `None` where consent is enough.
    pub refusal: Option<Failure>,
}

/// All that a run takes down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    /// Each with its cost.
    pub found: Vec<Outage>,
    /// Servers that do not vote now, where that matters.
    pub silent: Vec<String>,
}

/// The servers that do not vote.
#[derive(Default)]
struct Silent(Vec<Server>);

/// What `init` takes down.
pub async fn of_init(world: &World, options: &Options, control_plane: &ControlPlane) -> Outages {
    let order = Order::new(&world.plan, &world.secrets, options);
    let daemons: Vec<&Daemon> = world.plan.daemons.iter().collect();
    let (servers, (daemons, unsure), disks) = tokio::join!(
        servers_that_restart(world, control_plane),
        daemons_that_restart(world, &daemons),
        disks_to_make(world, control_plane)
    );
    let mut all = of_both(
        world,
        &order,
        &servers,
        &daemons,
        RestartReason::Configuration,
    )
    .await;
    let restarts = |carrier: &str| daemons.iter().any(|(daemon, _)| daemon.group == carrier);
    let disks = disks.into_iter().filter(|(carrier, _)| !restarts(carrier));
    all.found.extend(disks.map(|(_, outage)| outage));
    // Else its step is refused when it turns out.
    all.found
        .extend(unsure.into_iter().filter(|_| options.allow_outage));
    all
}

/// What a command takes down that makes these hosts as they are planned and touches no server.
pub async fn of_hosts(world: &World, hosts: &[String]) -> Outages {
    let daemons = world.plan.daemons.iter();
    let theirs: Vec<&Daemon> = daemons
        .filter(|daemon| hosts.contains(&daemon.host))
        .collect();
    let (daemons, _) = daemons_that_restart(world, &theirs).await;
    of_both(
        world,
        &Order::default(),
        &[],
        &daemons,
        RestartReason::Configuration,
    )
    .await
}

/// What a new Slicer token of this host takes down; servers that have not read their configuration yet do so on the way.
pub async fn of_token(world: &World, host: &str) -> Outages {
    let daemons = world.plan.daemons_of(host);
    let costs = daemons
        .filter(|daemon| daemon.shares.is_none())
        .map(|daemon| async move { Some((daemon, cost(world, daemon).await?)) });
    let as_they_are = ControlPlane::unquestioned(&world.plan);
    let (servers, daemons) =
        tokio::join!(servers_that_restart(world, &as_they_are), join_all(costs));
    let daemons: Vec<_> = daemons.into_iter().flatten().collect();
    of_both(
        world,
        &Order::default(),
        &servers,
        &daemons,
        RestartReason::Token,
    )
    .await
}

async fn of_both(
    world: &World,
    order: &Order,
    servers: &[&Server],
    daemons: &[(&Daemon, String)],
    cause: RestartReason,
) -> Outages {
    let reboots: Vec<&Daemon> = daemons.iter().map(|(daemon, _)| *daemon).collect();
    let silent = Silent::look(world, servers, &reboots).await;
    let rolling = rolling(&world.plan, order, servers, &silent).into_iter();
    Outages {
        found: rolling
            .chain(silent.of_daemons(&world.plan, daemons, cause))
            .collect(),
        silent: silent.names(),
    }
}

/// The servers whose running k3s has to read another configuration. One that has no data, or cannot be asked, serves no one.
async fn servers_that_restart<'w>(
    world: &'w World,
    control_plane: &ControlPlane,
) -> Vec<&'w Server> {
    let members = world
        .plan
        .servers_here()
        .filter(|server| *control_plane.start(&server.name) == Start::Member);
    let asked = members.map(|server| async move {
        let restarts = limited(ANSWER, k3s_started::restarts(world, server)).await;
        matches!(restarts, Ok(Ok(true))).then_some(server)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Those of the daemons that have to read another configuration, where a restart costs something, with the cost; and what goes down
/// by those of whom this cannot be told though their hosts are there: they may answer a minute later.
async fn daemons_that_restart<'w>(
    world: &World,
    daemons: &[&'w Daemon],
) -> (Vec<(&'w Daemon, String)>, Vec<Outage>) {
    let own = daemons.iter().filter(|daemon| {
        let here = world.host(&daemon.host).is_ok();
        daemon.shares.is_none() && here
    });
    let asked = own.map(|daemon| async move {
        let restarts = limited(ANSWER, restarts(world, daemon)).await;
        let why = match restarts {
            Ok(Ok(false)) => return None,
            Ok(Ok(true)) => None,
            Ok(Err(failure)) => Some(failure.to_string()),
            Err(_) => Some(format!("no answer within {} s", ANSWER.as_secs())),
        };
        Some((*daemon, why, cost(world, daemon).await?))
    });
    let (mut sure, mut unsure) = (Vec::new(), Vec::new());
    for (daemon, why, cost) in join_all(asked).await.into_iter().flatten() {
        let Some(why) = why else {
            sure.push((daemon, cost));
            continue;
        };
        let (unit, host) = (daemon.unit(), &daemon.host);
        unsure.push(Outage {
            what: format!(
                "{unit} on {host} may restart, for what it runs with cannot be told ({why}): {cost}"
            ),
            refusal: None,
        });
    }
    (sure, unsure)
}

async fn restarts(world: &World, daemon: &Daemon) -> Result<bool> {
    let host = world.host(&daemon.host)?;
    let name = daemon.unit();
    let (unit, read) = tokio::try_join!(
        Unit::look(host, &name),
        Process::Daemon(daemon).has_read(world, host)
    )?;
    Ok(unit.runs() && !read)
}

async fn cost(world: &World, daemon: &Daemon) -> Option<String> {
    let asked = async {
        let slicer = world.slicer(daemon).await;
        restart::vms(world, daemon, slicer).await
    };
    let silent = |_| {
        let what = format!("no answer within {} s", ANSWER.as_secs());
        Err(Failure::new(Code::SlicerApi, what))
    };
    restart::cost(limited(ANSWER, asked).await.unwrap_or_else(silent))
}

/// Disks that Slicer makes at a daemon's start only, where that daemon has other VMs: (the daemon's group, the outage).
/// A VM that Slicer lists may get its disk without a restart, which is tried first.
async fn disks_to_make(world: &World, control_plane: &ControlPlane) -> Vec<(String, Outage)> {
    let lost = world.plan.servers_here();
    let lost = lost.filter(|server| control_plane.without_disk.contains(&server.name));
    let asked = lost.map(|server| async move {
        let daemon = world.plan.daemon(&server.group)?;
        let slicer = world.slicer(daemon).await.ok()?;
        let listed = slicer.vms(&server.group).await.ok()?;
        if listed.iter().any(|vm| vm.hostname == server.name) {
            return None;
        }
        let cost = vm_up::cost(&world.plan, &slicer, daemon).await.ok()??;
        let why = format!("Slicer makes a disk at its start only, and a restart {cost}");
        let outage = Outage {
            what: format!(
                "{} on {} restarts to make a new disk for {}: {cost}",
                daemon.unit(),
                daemon.host,
                server.name
            ),
            refusal: Some(vm_up::refusal(daemon, server, &why)),
        };
        Some((daemon.carrier().to_owned(), outage))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The restarts of k3s, one after the other.
fn rolling(plan: &Plan, order: &Order, servers: &[&Server], silent: &Silent) -> Option<Outage> {
    let first = servers.first()?;
    let names: Vec<&str> = servers.iter().map(|server| &*server.name).collect();
    let names = names.join(", ");
    if plan.servers.len() == 1 {
        let cost = "it is the only server: the API stops meanwhile";
        return Some(Outage {
            what: format!("k3s on {names} restarts; {cost}"),
            // Who replaces a token has agreed to it.
            refusal: (!order.may_restart()).then(|| k3s_started::refusal(&names, cost)),
        });
    }
    // While tokens are replaced no word lets the quorum go: a server that the new token locks out would not be the last.
    if let Some(cost) = silent.loss(plan, &[first]).filter(|_| !order.is_rotation()) {
        return Some(Outage {
            what: format!("k3s on {names} restarts; {cost}"),
            refusal: Some(k3s_started::refusal(&names, &cost)),
        });
    }
    let turn = match servers {
        [_] => "",
        _ => ", one after the other",
    };
    let waits = match silent.names().as_slice() {
        [] => String::new(),
        silent => format!(
            ", when enough of the others vote (now silent: {})",
            silent.join(", ")
        ),
    };
    Some(Outage {
        what: format!("k3s on {names} restarts{turn}{waits}; etcd keeps its quorum"),
        refusal: None,
    })
}

impl Silent {
    /// Asks them, where a restart of these takes a server down that is not the only one.
    async fn look(world: &World, servers: &[&Server], daemons: &[&Daemon]) -> Self {
        let plan = &world.plan;
        let reboots = plan
            .servers
            .iter()
            .any(|server| daemons.iter().any(|daemon| daemon.group == server.group));
        if plan.servers.len() < 2 || (servers.is_empty() && !reboots) {
            return Self::default();
        }
        Self(quorum::silent(world, ANSWER).await)
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|server| server.name.clone()).collect()
    }

    /// Why etcd loses its quorum while these servers are down, whatever this run brings up before: what is off stays off. `None`
    /// where it keeps it, or has none to lose.
    fn loss(&self, plan: &Plan, leaving: &[&Server]) -> Option<String> {
        let off: Vec<&Server> = self
            .0
            .iter()
            .filter(|server| plan.host(&server.host).is_none())
            .collect();
        let all = plan.servers.len();
        let quorum = all / 2 + 1;
        let stay = plan.servers.iter();
        let stay = stay.filter(|server| !leaving.contains(server) && !off.contains(server));
        let has_one = all - self.0.len() >= quorum;
        (has_one && leaving.len() < all && stay.count() < quorum).then(|| {
            let off: Vec<String> = off
                .iter()
                .map(|server| format!("{} on {}", server.name, server.host))
                .collect();
            match off.as_slice() {
                [] => "etcd loses its quorum meanwhile".to_owned(),
                off => format!(
                    "etcd loses its quorum meanwhile, for {} is off",
                    off.join(", ")
                ),
            }
        })
    }

    fn of_daemons(
        &self,
        plan: &Plan,
        daemons: &[(&Daemon, String)],
        cause: RestartReason,
    ) -> impl Iterator<Item = Outage> {
        daemons.iter().map(move |(daemon, cost)| {
            let its = plan.servers.iter();
            let its: Vec<&Server> = its.filter(|server| server.group == daemon.group).collect();
            let loss = self.loss(plan, &its).filter(|_| !its.is_empty());
            let cost = match loss {
                Some(loss) => format!("{cost}; {loss}"),
                None => cost.clone(),
            };
            Outage {
                what: format!("{} on {} restarts: {cost}", daemon.unit(), daemon.host),
                refusal: Some(restart::refusal(daemon, cause, &cost)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
