//! Rotations are killed at a random moment: the same command again always finishes, and nobody is locked out.

use anyhow::{Context as _, Result};

use super::super::super::seeds::{Seed, Seeds};
use super::super::home::{Home, Layout, ONE, SPREAD_WITH_AGENTS};
use super::super::{UNHURRIED, UNPROVEN, changes_nothing, killed};
use super::agent_at_work::AgentAtWork;
use super::rotation::{self, Kind, Rotation};
use crate::say;

/// How often, unless `--seeds` says another number.
const ROUNDS: u64 = 2;

/// Fleet `one`.
pub(super) fn one(seeds: &Seeds) -> Result<()> {
    run(&ONE, "rotate-kills", "rotate-kills", seeds)
}

/// A server on each host, and agents on one of them.
pub(super) fn spread(seeds: &Seeds) -> Result<()> {
    run(
        &SPREAD_WITH_AGENTS,
        "rotate-apart",
        "rotate-kills-spread",
        seeds,
    )
}

fn run(layout: &Layout, fleet: &str, check: &str, seeds: &Seeds) -> Result<()> {
    let home = Home::found(layout, fleet)?;
    let agent = AgentAtWork::made(&home.trial)?;
    // Undisturbed first: how long each takes is what moments are chosen from.
    let mut took = Vec::new();
    for kind in [Kind::Agent, Kind::Server] {
        let rotation = Rotation::of(&home.trial, kind)?;
        let done = rotation::run(&home, &kind.unproven())?;
        took.push(done.took.as_secs_f64());
        rotation
            .holds(&home, Some(&agent), 1)
            .context("undisturbed")?;
    }
    for seed in seeds.rounds(ROUNDS) {
        let (kind, took) = if seed.is_odd() {
            (Kind::Server, took[1])
        } else {
            (Kind::Agent, took[0])
        };
        say::line(format_args!("  {seed}: {} token", kind.word()));
        round(&home, &agent, (kind, took), seed)
            .with_context(|| format!("again with --only {check} {seed}"))?;
    }
    changes_nothing(&home.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

fn round(home: &Home, agent: &AgentAtWork, (kind, took): (Kind, f64), seed: Seed) -> Result<()> {
    let rotation = Rotation::of(&home.trial, kind)?;
    let moment = 0.2 + seed.fraction() * took;
    killed(&home.trial, moment, &kind.unproven())?;
    rotation::run(home, &kind.unproven())?;
    rotation.holds(home, Some(agent), 1)
}
