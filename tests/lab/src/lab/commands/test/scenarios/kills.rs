//! Ten kills at random moments, each followed by a run: the cluster always converges.

use anyhow::{Context as _, Result};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, RERUN_OF_THREE, changes_nothing, healthy};
use crate::place::Place;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    for round in 0..10 {
        let trial = Trial::up("three", "test-kills", &[])?;
        CLUSTER_OF_THREE.write(&trial)?;
        let random = std::fs::read("/proc/sys/kernel/random/uuid")?;
        let moment = 1 + random.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 70;
        trial.me(&format!("timeout -s KILL {moment} {INIT}"))?;
        trial.me(INIT)?.expect(0).with_context(|| {
            format!("round {round}: killed after {moment} s, the next run failed")
        })?;
        healthy(&trial)?;
        changes_nothing(&trial, ("workstation", "me"), INIT, RERUN_OF_THREE)?;
    }
    Ok(())
}
