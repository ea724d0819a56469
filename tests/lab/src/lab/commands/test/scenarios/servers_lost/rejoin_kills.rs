//! The founding server loses its disk, and what brings it back is killed at a random moment: the same command again always
//! ends with three voters of the same cluster.

use anyhow::{Context as _, Result};

use super::super::super::seeds::{Seed, Seeds};
use super::super::home::{Home, Layout, ONE, SPREAD};
use super::super::{UNPROVEN, killed};
use crate::say;

/// How often, unless `--seeds` says another number.
const ROUNDS: u64 = 2;

/// Fleet `one`.
pub(super) fn one(seeds: &Seeds) -> Result<()> {
    run(&ONE, "rejoin-one", "rejoin-kills", seeds)
}

/// A server on each host.
pub(super) fn spread(seeds: &Seeds) -> Result<()> {
    run(&SPREAD, "rejoin-apart", "rejoin-kills-spread", seeds)
}

fn run(layout: &Layout, fleet: &str, check: &str, seeds: &Seeds) -> Result<()> {
    let home = Home::found(layout, fleet)?;
    // Undisturbed first: how long it takes is what moments are chosen from.
    home.lose(home.servers[0])?;
    let took = home.init()?.took.as_secs_f64();
    home.whole().context("undisturbed")?;
    for seed in seeds.rounds(ROUNDS) {
        say::line(format_args!("  {seed}"));
        round(&home, took, seed).with_context(|| format!("again with --only {check} {seed}"))?;
    }
    home.settled()
}

fn round(home: &Home, took: f64, seed: Seed) -> Result<()> {
    home.lose(home.servers[0])?;
    killed(&home.trial, 0.2 + seed.fraction() * took, UNPROVEN)?;
    home.init()?;
    home.whole()
}
