//! `slicer-k3s add-host NAME …`: more workers, without anybody else noticing.

mod wanted;

use std::time::Instant;

use super::act::{self, Act};
use super::cluster_file::ClusterFile;
use super::consent::Prospect;
use super::context::{self, StateDir, key_policy};
use super::init::{CHANGE_THE_FILE, asked_for, may_begin};
use super::rotate_token::none_unfinished;
use crate::cli::{AddHost, Global};
use crate::config::{Config, NewHost, Setting};
use crate::facts::HostFacts;
use crate::failure::Failures;
use crate::fleet::{self, Fleet};
use crate::plan::Plan;
use crate::state::State;
use crate::steps::outages;
use crate::{plan, report, steps};

const COMMAND: &str = "add-host";

/// Runs it.
pub(super) async fn run(global: &Global, options: &AddHost) -> Result<u8, Failures> {
    let started = Instant::now();
    let before = context::load(global)?;
    let home = StateDir::of(&before.name)?;
    context::known(&home, &before.name)?;
    let consent = options.making.consent;
    let here = home.begin(COMMAND, consent)?;
    let mut file = ClusterFile::read(&global.config)?;
    let mut new = wanted::hosts(options, &file.before)?;
    let names: Vec<String> = new.iter().map(|host| host.name.clone()).collect();
    file.add_host(&new)?;

    let (mut state, last) = context::known(&home, &before.name)?;
    none_unfinished(&state)?;
    state.secrets.forget_unbegun();
    let fleet = fleet::connect(&file.after, &key_policy(global)).await?;
    let (facts, turn) = tokio::join!(
        fleet::survey(&fleet),
        context::turn(here, &fleet, &file.after, COMMAND, &state, Some(&last))
    );
    let turn = turn?;
    let facts = facts?;
    let fleet = all_here(fleet, &names)?;
    if propose_size(&mut new, &file.before, &facts) {
        file.add_host(&new)?;
    }
    let plan = decide(&file.after, &state, &facts, &fleet)?;
    let wanted = asked_for(&options.making, &home);
    let world = fleet.world(plan, state.secrets.clone());
    let (plan, part) = (&world.plan, world.plan.about(&names));
    let news = file.is_changed() || !names.iter().all(|name| last.host(name).is_some());
    if news {
        report::say(&report::plan(&part));
        report::say(&learners(plan, &names));
        report::say(&file.diff());
    }
    if turn.is_some() {
        may_begin(&world, &part, &wanted).await?;
    }
    let prospect = Prospect {
        outages: &outages::of_hosts(&world, &names).await,
        // What restarts a daemon that has VMs is `init`'s to do.
        allow_outage: false,
        asks: news,
        ..Prospect::of("", CHANGE_THE_FILE)
    };
    prospect.agree(consent).await?;
    if let Some(turn) = &turn {
        state.decisions = plan.decisions(&state.decisions);
        turn.record(&mut state).await?;
        // The file first: killed after it, `init` and this command both know what is wanted.
        file.write()?;
        state.save(home.path())?;
        home.keep_plan(plan)?;
        home.keep_config(&global.config, &file.after)?;
    }
    let steps = steps::add_hosts(plan, &wanted, &names);
    let act = Act {
        global,
        command: COMMAND,
        started,
        turn: turn.as_ref(),
        absent: fleet.absent,
        likely_done: !news,
    };
    let ended = act.run(&steps, &world).await?;
    drop(turn);
    if consent.dry_run {
        return Ok(act::would_change(&ended));
    }
    report::say(&last_words(plan, &names, act::changed(&ended)));
    Ok(0)
}

/// Who else is changed.
fn learners(plan: &Plan, names: &[String]) -> String {
    let others: Vec<&str> = plan
        .hosts
        .iter()
        .map(|host| host.name.as_str())
        .filter(|host| !names.iter().any(|name| name == host))
        .collect();
    format!(
        "Others learn of it: routes on {}; the autoscaler starts anew to read its groups.",
        others.join(", ")
    )
}

/// The new hosts must answer; others may be off.
fn all_here(fleet: Fleet, names: &[String]) -> Result<Fleet, Failures> {
    let missing: Failures = fleet
        .absent
        .iter()
        .filter(|(name, _)| names.contains(name))
        .map(|(_, failure)| failure.clone())
        .collect();
    if missing.is_empty() {
        Ok(fleet)
    } else {
        Err(missing)
    }
}

/// A machine with less RAM than an agent usually takes gets smaller ones, unless the person chose. True where it did.
fn propose_size(new: &mut [NewHost], before: &Config, facts: &[HostFacts]) -> bool {
    let mut proposed = false;
    for host in new {
        let chosen = host.workers.iter().any(|(key, _)| *key == "ram-gb");
        let facts = facts.iter().find(|facts| facts.name == host.name);
        if chosen || before.host(&host.name).is_some() {
            continue;
        }
        if let Some(ram) = facts.and_then(HostFacts::smaller_agent) {
            host.workers.push(("ram-gb", Setting::Number(ram)));
            proposed = true;
        }
    }
    proposed
}

fn decide(
    config: &Config,
    state: &State,
    facts: &[HostFacts],
    fleet: &Fleet,
) -> Result<Plan, Failures> {
    let absent = fleet.reasons();
    // Decided when the cluster was made.
    let version = state.decisions.k3s_version.as_deref().unwrap_or_default();
    plan::decide(config, &state.decisions, facts, &absent, version)
}

fn last_words(plan: &Plan, names: &[String], changed: bool) -> String {
    let here = names.join(", ");
    if !changed {
        return format!("Nothing to change: {here} is enrolled.");
    }
    let groups: Vec<String> = plan
        .workers()
        .filter(|daemon| names.contains(&daemon.host))
        .map(|daemon| {
            format!(
                "{} on {} ({} to {} VMs)",
                daemon.group, daemon.host, daemon.min, daemon.max
            )
        })
        .collect();
    let mut workers = plan.workers();
    let group = workers.find(|daemon| names.contains(&daemon.host));
    let prove = format!(
        "slicer-k3s prove {}",
        group.map_or("", |daemon| &daemon.group)
    );
    let first = names.first().map_or("", String::as_str);
    let remove = format!("slicer-k3s remove-host {first}");
    format!(
        "\n{here} is enrolled: {groups}\n\
         Next:\n\
         \x20 {prove:<36} watch it scale\n\
         \x20 {remove:<36} take it away again",
        groups = groups.join(", "),
    )
}
