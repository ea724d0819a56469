//! `lab demo`: the product's main job on fleet `three`, as a user would see it.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::test::{CLUSTER_OF_THREE, Trial};
use crate::place::Place;
use crate::say;
use crate::state::State;

/// Runs it; the fleet stays up.
pub(crate) fn run(_: &Place) -> Result<ExitCode> {
    let trial = Trial::keep("three")?;
    CLUSTER_OF_THREE.write(&trial)?;
    say::line("");
    say::line("On the workstation, as its user:");
    say::line(format_args!(
        "  $ cat cluster.toml\n{}",
        CLUSTER_OF_THREE.indented()
    ));
    say::line("  $ slicer-k3s init --yes --accept-new-host-keys");
    let state = State::choose(Some("three"))?;
    let status = crate::machine::enter::command(
        &state,
        "workstation",
        &[
            "su",
            "-",
            "me",
            "-c",
            "slicer-k3s init --yes --accept-new-host-keys",
        ],
    )?
    .status()
    .context("cannot enter the workstation")?;
    if !status.success() {
        say::line(
            "init did not succeed; the fleet stays up: `cargo lab shell` to look, `cargo lab down` to end",
        );
        return Ok(ExitCode::FAILURE);
    }
    say::line(
        "\nTry next (the fleet stays up until `cargo lab down`):\n\
         \x20 cargo lab shell                              the workstation; there:\n\
         \x20   slicer-k3s kubectl get nodes -o wide\n\
         \x20   slicer-k3s prove --pods 2\n\
         \x20   slicer-k3s init                            changes nothing\n\
         \x20 cargo lab fault link-down pi5                break something, run init again",
    );
    Ok(ExitCode::SUCCESS)
}
