//! `slicer-k3s remove-host NAME`: a host's workers gone, without a trace in the cluster.

mod may_leave;
mod prospect;
mod tokens;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use super::act::{self, Act};
use super::cluster_file::ClusterFile;
use super::consent::Prospect;
use super::context::{self, StateDir, key_policy};
use super::turn::RunLock;
use crate::cli::{Global, RemoveHost};
use crate::config::Config;
use crate::facts::{FoundDaemon, HostFacts};
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet::{self, Fleet};
use crate::generate::{FORWARDING_PATH, Route};
use crate::plan::{self, Decisions, Plan};
use crate::question::limited;
use crate::remote::ssh;
use crate::report::say;
use crate::state::State;
use crate::steps::removal::{self, DaemonToRemove, Drain};
use crate::steps::{self, Leaving};
use may_leave::Named;
use prospect::{LOOK, prospect};
use tokens::Tokens;

/// Has the next run, wherever it is made, go by what there is without the host that is about to leave.
async fn announce_without(turn: &RunLock, state: &mut State, decisions: Decisions) -> Result<()> {
    let mut then = state.clone();
    then.decisions = decisions;
    turn.record(&mut then).await?;
    state.runs = then.runs;
    Ok(())
}

/// What to do where the host is to stay after all.
const KEEP: &str = "slicer-k3s status shows what runs where";

const COMMAND: &str = "remove-host";

/// Runs it.
pub(super) async fn run(global: &Global, options: &RemoveHost) -> Result<u8, Failures> {
    let started = Instant::now();
    let before = context::load(global)?;
    let home = StateDir::of(&before.name)?;
    let name = options.name.as_str();
    if may_leave::left_before(&home, &before, name)? {
        return Ok(nothing_to_do(&before.name, name));
    }
    context::known(&home, &before.name)?;
    let here = home.begin(COMMAND, options.consent)?;
    let mut file = ClusterFile::read(&global.config)?;
    let (mut state, last) = context::known(&home, &before.name)?;
    let named = may_leave::check(&file.before, &state.decisions, &last, options)?;
    if let Named::Unknown(failure) = named {
        return unknown(global, &file.before, name, failure).await;
    }
    tokens::may_leave(&state, options)?;
    file.remove_host(name, options.agents)?;
    let mut fleet = fleet::connect(&file.before, &key_policy(global)).await?;
    answers(&mut fleet, options)?;
    let (facts, turn) = tokio::join!(
        fleet::survey(&fleet),
        context::turn(here, &fleet, &file.before, COMMAND, &state, Some(&last))
    );
    let turn = turn?;
    let (there, mut facts): (Vec<_>, Vec<_>) = facts?
        .into_iter()
        .partition(|facts| facts.name == name && !options.agents);
    let found = there.iter().flat_map(|facts| facts.daemons.clone());
    let (mut remains, decisions) = parted(&before.name, &state.decisions, found, options);
    let all = facts.iter().chain(&there);
    heed(&mut remains, &before.name, &state.decisions, all);
    let groups: Vec<&str> = remains.iter().map(|daemon| &*daemon.group).collect();
    if let Some(stays) = facts.iter_mut().find(|facts| facts.name == name) {
        stays.ignore(&groups);
    }
    let routes = routes_to(&state.decisions, &last, name, &groups, options.agents);
    let absent = fleet.reasons();
    let version = decisions.k3s_version.clone().unwrap_or_default();
    let plan = plan::decide(&file.after, &decisions, &facts, &absent, &version)?;

    let mut world = fleet.world(plan, state.secrets.clone());
    let enrolled = limited(LOOK, steps::enrolled_groups(&world));
    let ((prospect, loss), enrolled) = tokio::join!(prospect(&world, &remains, options), enrolled);
    let enrolled = enrolled.ok().and_then(Result::ok);
    let prospect = format!("{prospect}\n{}", file.diff());
    let prospect = Prospect::of(&prospect, KEEP).losing(&loss, options.delete_local_data);
    prospect.agree(options.consent).await?;
    let leaving = Leaving {
        host: name,
        remains: &remains,
        routes: &routes,
        stays: options.agents,
        enrolled: enrolled.as_ref(),
        drain: (!options.gone).then_some(Drain {
            limit: Duration::from_secs(options.drain_limit),
            force: options.force,
        }),
    };
    let read_only = home.read_only();
    let act = |turn| Act {
        global,
        command: COMMAND,
        started,
        turn,
        // They are told below: what is done stays done without them.
        absent: Vec::new(),
        likely_done: false,
    };
    let Some(turn) = turn else {
        let steps = steps::leave(&world.plan, &read_only, &leaving);
        act(None).run(&steps, &world).await?;
        // Its entry in cluster.toml is there.
        return Ok(act::WOULD_CHANGE);
    };
    let without = world.plan.decisions(&decisions);
    announce_without(&turn, &mut state, without).await?;
    state.save(home.path())?;
    let tokens = Tokens {
        global,
        options,
        turn: &turn,
        home: &home,
    };
    tokens.finish(&mut state, &mut world, &decisions).await?;
    let steps = steps::leave(&world.plan, &read_only, &leaving);
    act(Some(&turn)).run(&steps, &world).await?;
    tokens.replace(&mut state, &mut world).await?;
    state.decisions = world.plan.decisions(&decisions);
    turn.record(&mut state).await?;
    state.save(home.path())?;
    turn.announce().await?;
    home.keep_plan(&world.plan)?;
    // The file last: as long as it names the host, the same command goes on.
    file.write()?;
    home.keep_config(&global.config, &file.after)?;
    drop(turn);
    say_what_stays(options, &remains);
    say_unenrolled(&world.plan, enrolled.as_ref());
    told(fleet.absent)
}

/// How it ends where other hosts were off: what is done stays done without them.
fn told(absent: Vec<(String, Failure)>) -> Result<u8, Failures> {
    if absent.is_empty() {
        return Ok(0);
    }
    Err(absent.into_iter().map(|(_, failure)| failure).collect())
}

/// What becomes of a name that no one here knows: nothing is to be done where a host was enrolled by it.
async fn unknown(
    global: &Global,
    config: &Config,
    name: &str,
    failure: Failure,
) -> Result<u8, Failures> {
    // A misspelt name is worth no question, and a host that does not let us in is no reason to say less of the name.
    let fleet = ssh::unasked(fleet::connect_available(config, &key_policy(global))).await;
    let marked = may_leave::is_marked(Some(fleet), &config.name, name).await;
    let nothing = marked.then(|| nothing_to_do(&config.name, name));
    nothing.ok_or_else(|| Failures::from(failure))
}

/// Whoever runs it twice has what was wanted.
fn nothing_to_do(cluster: &str, name: &str) -> u8 {
    say(&format!(
        "Nothing to change: {name} is not in {cluster} any more."
    ));
    0
}

/// The daemons that go, of those that were decided or found there; and what was decided of all that stays.
fn parted(
    cluster: &str,
    decided: &Decisions,
    found: impl Iterator<Item = FoundDaemon>,
    options: &RemoveHost,
) -> (Vec<DaemonToRemove>, Decisions) {
    let name = options.name.as_str();
    let found: Vec<FoundDaemon> = found.collect();
    let mut remains = removal::remains_on(cluster, decided, name, &found);
    if options.agents {
        let stays = decided.without_agents(name);
        remains.retain(|daemon| !stays.groups.contains_key(&daemon.group));
        return (remains, stays);
    }
    (remains, decided.without(name, options.gone))
}

/// Notes which of them have a namesake on their host that is not the cluster's.
fn heed<'f>(
    remains: &mut [DaemonToRemove],
    cluster: &str,
    decided: &Decisions,
    facts: impl Iterator<Item = &'f HostFacts>,
) {
    for host in facts {
        let here = remains.iter_mut().filter(|daemon| daemon.host == host.name);
        for daemon in here {
            removal::heed(
                std::slice::from_mut(daemon),
                cluster,
                decided,
                &host.daemons,
            );
        }
    }
}

/// A host that is off is not removed by half, unless it is gone for good.
fn answers(fleet: &mut Fleet, options: &RemoveHost) -> Result<()> {
    let name = &options.name;
    let position = fleet.absent.iter().position(|(host, _)| host == name);
    match (position, options.gone) {
        (None, false) => Ok(()),
        (Some(position), true) => {
            fleet.absent.remove(position);
            Ok(())
        }
        (None, true) => Err(
            Failure::new(Code::Config, format!("{name} answers: it is not gone"))
                .hint(format!("slicer-k3s remove-host {name}")),
        ),
        (Some(position), false) => {
            let (_, failure) = fleet.absent.swap_remove(position);
            Err(
                Failure::new(failure.code, format!("{name} cannot be reached"))
                    .because(failure.to_string())
                    .hint(format!(
                        "switch it on; or, where it is dead, slicer-k3s remove-host {name} --gone"
                    )),
            )
        }
    }
}

/// The routes that other hosts have to this one, and to the VMs of these groups of it; not every host has each.
fn routes_to(
    decisions: &Decisions,
    last: &Plan,
    host: &str,
    names: &[&str],
    stays: bool,
) -> Vec<Route> {
    let decided = decisions.lan_addresses.get(host).copied();
    let itself = decided.filter(|_| !stays).map(Ipv4Net::from);
    let groups = decisions.groups.iter();
    let cidrs: Vec<Ipv4Net> = groups
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(_, group)| group.cidr.trunc())
        .chain(itself)
        .collect();
    let others = last.hosts.iter();
    let planned = others.filter_map(|from| last.via(Some(&from.name), host));
    let vias: BTreeSet<Ipv4Addr> = planned.chain(decided).collect();
    let of = |via: Ipv4Addr| cidrs.iter().map(move |cidr| Route { cidr: *cidr, via });
    vias.into_iter().flat_map(of).collect()
}

/// What an enrolment that was cut short has left of other hosts, where that is known.
fn say_unenrolled(plan: &Plan, enrolled: Option<&BTreeSet<String>>) {
    let Some(enrolled) = enrolled else { return };
    for daemon in plan.workers().filter(|it| !enrolled.contains(&it.group)) {
        say(&format!(
            "{} on {} is not enrolled yet; slicer-k3s init enrols it.",
            daemon.group, daemon.host
        ));
    }
}

fn say_what_stays(options: &RemoveHost, remains: &[DaemonToRemove]) {
    let shared = remains.iter().any(|daemon| daemon.shares.is_some());
    say(&stays(options, shared));
}

/// What is left, so that nobody has to look for it.
fn stays(options: &RemoveHost, shared: bool) -> String {
    let name = &options.name;
    if options.agents && shared {
        return format!(
            "\nThe agents of {name} are out of the cluster; its servers were not touched.\n\
             Their daemon served both and knows the agents' group until its next start, which reboots them:\n\
             \x20 slicer-k3s init --allow-outage\n\
             `workers = true` in [hosts.{name}] and the same command bring agents back."
        );
    }
    if options.agents {
        return format!(
            "\nThe agents of {name} are out of the cluster; its servers were not touched.\n\
             `workers = true` in [hosts.{name}] and slicer-k3s init bring agents back."
        );
    }
    if options.gone {
        let token = if options.keep_token {
            "which was kept: whoever has it can join agents"
        } else {
            "which is refused from now on"
        };
        return format!(
            "\n{name} is out of the cluster. Its disks, where they still exist, hold a join token, {token}.\n\
             Should {name} come back, its daemon starts by itself, and this takes it in again with the names it had:\n\
             \x20 slicer-k3s add-host {name} --ssh USER@ADDRESS"
        );
    }
    format!(
        "\n{name} is out of the cluster. What stays on it:\n\
         \x20 Slicer itself with its licence, API token and images\n\
         \x20 IPv4 forwarding ({FORWARDING_PATH})\n\
         \x20 what was backed up as *.before-slicer*\n\
         slicer-k3s add-host {name} --ssh USER@ADDRESS takes it in again."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use crate::testing::plan;

    #[test]
    fn others_lose_exactly_the_routes_to_it() {
        let plan = plan();
        let all = plan.decisions(&Decisions::default());
        let routes = |stays| routes_to(&all, &plan, "ryzen", &["k3s-agents-1"], stays);
        let vms = "192.168.138.0/24 192.168.1.12\n";
        assert_eq!(generate::route_table(&routes(true)), vms);
        // A host in another network has a route to itself as well.
        let itself = format!("{vms}192.168.1.12/32 192.168.1.12\n");
        assert_eq!(generate::route_table(&routes(false)), itself);
    }
}
