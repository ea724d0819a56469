//! The manual procedure reaches a cluster that scales, without the product: the lab is not made to the product's measure.

use anyhow::{Result, bail};

use super::super::trial::Trial;
use crate::place::Place;

/// The manual procedure.
pub(super) const SCRIPT: &[u8] = include_bytes!("../../../../../manual.sh");

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-manual", &[])?;
    trial.put("workstation", "/usr/local/bin/manual.sh", "0755", SCRIPT)?;
    trial.put_mine(
        "sudo-passwords",
        "0600",
        "alex@192.168.1.12 correct horse\n",
    )?;
    let done = trial
        .me("SUDO_PASSWORDS=~/sudo-passwords manual.sh")?
        .expect(0)?;
    if !done.stdout.contains("autoscaler_running_seconds") {
        bail!("no figures:\n{}", done.text());
    }
    Ok(())
}
