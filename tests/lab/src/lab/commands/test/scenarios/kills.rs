//! Kills at random moments, from the first look to the proof's end, each followed by a run: the cluster always converges.

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, changes_nothing, healthy};
use crate::place::Place;
use crate::preconditions::KILLS;
use crate::say;

/// How often, unless `LAB_KILLS` says another number (`3`) or the very moments (`45s,90s`).
const ROUNDS: u64 = 10;

/// A whole run with its proof takes about this long; a kill that comes too late is a round without one.
const LATEST: u64 = 115;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let asked = std::env::var(KILLS).unwrap_or_default();
    for moment in moments(&asked)? {
        round(moment)
            .with_context(|| format!("killed after {moment} s (again with LAB_KILLS={moment}s)"))?;
    }
    Ok(())
}

fn round(moment: u64) -> Result<()> {
    let trial = Trial::up("three", "test-kills", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    let killed = trial.me(&format!("timeout -s KILL {moment} {INIT}"))?;
    let text = killed.text();
    let last = text.lines().last().unwrap_or_default();
    say::line(format_args!("  killed after {moment} s; last line: {last}"));
    let next = trial.me(INIT)?.expect(0).context("the next run failed")?;
    say::line(format_args!(
        "  the next run took {:.0} s",
        next.took.as_secs_f64()
    ));
    healthy(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, UNHURRIED)
}

/// The moments of all rounds, in seconds.
fn moments(asked: &str) -> Result<Vec<u64>> {
    if let Some(rounds) = number(asked) {
        return (0..rounds).map(|_| random()).collect();
    }
    asked
        .split(',')
        .map(|word| word.strip_suffix('s').and_then(|word| word.parse().ok()))
        .collect::<Option<_>>()
        .with_context(|| format!("LAB_KILLS is neither a number of rounds nor moments: {asked}"))
}

fn number(asked: &str) -> Option<u64> {
    if asked.is_empty() {
        Some(ROUNDS)
    } else {
        asked.parse().ok()
    }
}

fn random() -> Result<u64> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    match u64::from_str_radix(&uuid[..8], 16) {
        Ok(number) => Ok(1 + number % LATEST),
        Err(_) => bail!("the kernel's random uuid is none: {uuid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_and_moments_are_told_apart() {
        assert_eq!(moments("").unwrap().len(), 10);
        assert!(
            moments("200")
                .unwrap()
                .iter()
                .all(|moment| (1..=LATEST).contains(moment))
        );
        assert_eq!(moments("45s,90s").unwrap(), [45, 90]);
        assert!(moments("45s,90").is_err());
    }
}
