//! Kills at random moments, from the first look to the proof's end, each followed by a run: the cluster always converges.

use anyhow::{Context as _, Result};

use super::super::Seeds;
use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, changes_nothing, healthy, killed};
use crate::say;

/// How often, unless `--seeds` says another number.
const ROUNDS: u64 = 2;

/// A whole run with its proof takes about this many seconds; a kill that comes too late is a round without one.
const LATEST: f64 = 115.0;

/// Runs it.
pub(super) fn run(seeds: &Seeds) -> Result<()> {
    for seed in seeds.rounds(ROUNDS) {
        say::line(format_args!("  {seed}"));
        round(1.0 + seed.fraction() * LATEST)
            .with_context(|| format!("again with --only kills {seed}"))?;
    }
    Ok(())
}

fn round(moment: f64) -> Result<()> {
    let trial = Trial::up("three", "test-kills", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    killed(&trial, moment, INIT)?;
    let next = trial.me(INIT)?.expect(0).context("the next run failed")?;
    say::line(format_args!(
        "  the next run took {:.0} s",
        next.took.as_secs_f64()
    ));
    healthy(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, UNHURRIED)
}
