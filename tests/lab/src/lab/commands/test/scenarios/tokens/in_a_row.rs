//! Rotation after rotation of each kind, and every server restarted after each: nothing is lost, and nobody notices.

use anyhow::{Context as _, Result, bail};

use super::super::home::{Home, ONE, THREE, says};
use super::super::{UNHURRIED, UNPROVEN, changes_nothing, pod_runs, restarts};
use super::agent_at_work::AgentAtWork;
use super::rotation::{self, Kind, Rotation};
use super::{drop_in, slicer};
use crate::place::Place;

/// How often each server is restarted after each rotation.
const RESTARTS: usize = 2;

/// Rotations of each kind.
const TIMES: usize = 3;

/// Fleet `one`.
pub(super) fn one(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "rotate-one")?;
    let agent = AgentAtWork::made(&home.trial)?;
    asked(&home)?;
    for kind in [Kind::Agent, Kind::Server] {
        let replaced = in_a_row(&home, kind, &agent, &[])?;
        drop_in::not_needed(&home, home.servers[1])?;
        if kind == Kind::Server {
            rotation::former(|command| home.trial.me(command), &replaced)?;
        }
    }
    rebooted(&home)
}

/// Fleet `three`: a killed one is gone on with, agents on other hosts survive a restart, and new ones join by the new token.
pub(super) fn three(_: &Place) -> Result<()> {
    let home = Home::found(&THREE, "rotate-three")?;
    let agent = AgentAtWork::made(&home.trial)?;
    cut_short(&home, &agent)?;
    for kind in [Kind::Agent, Kind::Server] {
        // The last one with the proof: a new agent joins.
        in_a_row(&home, kind, &agent, &[kind.command()])?;
        agent.survives(&home.trial)?;
    }
    drop_in::not_needed(&home, home.servers[0])?;
    slicer::of_an_agents_host(&home.trial)?;
    rebooted(&home)
}

/// Without a terminal nothing is asked and nothing is done.
fn asked(home: &Home) -> Result<()> {
    for kind in [Kind::Agent, Kind::Server] {
        let before = kind.token(&home.trial)?;
        let command = kind.unproven().replace(" --yes", "");
        let done = home.trial.me(&format!("{command} </dev/null"))?;
        says(&done, &[1], &["--yes", kind.word(), "token"])?;
        if kind.token(&home.trial)? != before {
            bail!("the {} token was replaced all the same", kind.word());
        }
    }
    home.no_drift()
}

/// A rotation that was killed is gone on with by the same command.
fn cut_short(home: &Home, agent: &AgentAtWork) -> Result<()> {
    let kind = Kind::Agent;
    let rotation = Rotation::of(&home.trial, kind)?;
    home.trial
        .me(&format!("timeout -s KILL 8 {}", kind.command()))?;
    // Whoever goes on is not asked again.
    let done = rotation::run(home, &kind.unproven().replace(" --yes", ""))?;
    if !done.text().contains("was begun before") {
        bail!("the killed rotation was not gone on with:\n{}", done.text());
    }
    rotation.holds(home, Some(agent), 1)?;
    agent.survives(&home.trial)?;
    changes_nothing(&home.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

/// So many rotations of a kind, the last ones by these commands; the tokens that were replaced.
fn in_a_row(home: &Home, kind: Kind, agent: &AgentAtWork, last: &[&str]) -> Result<Vec<String>> {
    let usual = kind.unproven();
    let usual = std::iter::repeat_n(&*usual, TIMES - last.len());
    let mut replaced = Vec::new();
    for (number, command) in usual.chain(last.iter().copied()).enumerate() {
        let rotation = Rotation::of(&home.trial, kind)?;
        rotation::run(home, command)
            .and_then(|_| rotation.holds(home, Some(agent), RESTARTS))
            .with_context(|| format!("rotation {} of the {} token", number + 1, kind.word()))?;
        replaced.push(rotation.old().to_owned());
    }
    changes_nothing(&home.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    Ok(replaced)
}

/// After a power cut it is the same cluster, with new agents.
fn rebooted(home: &Home) -> Result<()> {
    let trial = &home.trial;
    restarts::all_hosts(trial, home.hosts, &home.servers)?;
    for server in home.servers {
        home.keeps(server)?;
    }
    drop_in::everywhere(home)?;
    // The agents' VMs went with their hosts.
    home.init()?;
    pod_runs(trial, "sleep")?;
    home.stands()?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}
