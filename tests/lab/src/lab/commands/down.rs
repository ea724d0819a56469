//! `lab down`: nothing of a fleet is left.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cli::Down;
use crate::state::State;
use crate::{cgroup, inotify, network, say};

/// Stops one fleet or all.
pub(crate) fn run(options: &Down) -> Result<ExitCode> {
    let fleets = match (&options.fleet, options.all) {
        (_, true) => State::all()?,
        (name, false) => vec![State::choose(name.as_deref())?],
    };
    if fleets.is_empty() {
        say::line("no fleet is up");
    }
    for fleet in &fleets {
        let start = Instant::now();
        take_down(fleet)?;
        say::line(format_args!(
            "✓ fleet {} is down: {:.1} s",
            fleet.name,
            start.elapsed().as_secs_f64()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes a fleet by its names, not by what was recorded: also after a killed `up`.
pub(crate) fn take_down(fleet: &State) -> Result<()> {
    // Mounts live in the machines' own mount namespaces and go with their processes.
    cgroup::clear(&cgroup::fleet(&fleet.name))?;
    network::clear(&fleet.name)?;
    fleet.forget()?;
    if State::all()?.is_empty() {
        inotify::restore()?;
        // Both empty by now, unless somebody is just starting a fleet.
        let _ = std::fs::remove_dir(format!("{}/fleets", crate::place::RUNNING));
        let _ = std::fs::remove_dir(crate::place::RUNNING);
    }
    Ok(())
}
