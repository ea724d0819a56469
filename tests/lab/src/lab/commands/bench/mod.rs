//! `lab bench`: the product against the same work by hand and against the least that it can take, on this machine, in
//! alternating rounds with the same luck.

mod enrolment;
mod figures;
mod product;
mod rounds;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cache::binaries::for_machines;
use crate::cli::Bench;
use crate::say;
use figures::Samples;

/// When the leader first promotes learners, by round: the same for all who run in it.
const PHASES: [&str; 5] = ["3s", "9s", "15s", "6s", "12s"];

/// A part of the benchmark: its name, and one round of it.
type Part = (&'static str, fn(&Work, &str, &mut Samples) -> Result<()>);

/// In the order in which one round runs them.
const PARTS: [Part; 8] = [
    ("product", product::measure),
    ("floor", rounds::floor),
    ("manual", rounds::manual),
    ("init", rounds::init),
    ("proven", rounds::proven),
    ("one", rounds::one),
    ("add-host", enrolment::add_host),
    ("enrol", enrolment::enrol),
];

/// What all parts work with.
struct Work {
    /// The product, built as it is released.
    program: PathBuf,
}

/// The product as people get it: what is measured is not a debug build.
pub(crate) fn build() -> Result<PathBuf> {
    for_machines("slicer-k3s", "slicer-k3s", true)
}

/// Runs it.
pub(crate) fn run(options: &Bench) -> Result<ExitCode> {
    let chosen: Vec<&Part> = PARTS
        .iter()
        .filter(|(name, _)| options.only.is_empty() || options.only.iter().any(|only| only == name))
        .collect();
    if let Some(unknown) = options
        .only
        .iter()
        .find(|only| PARTS.iter().all(|(name, _)| name != only))
    {
        let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
        bail!("there is no part {unknown}: {}", names.join(", "));
    }
    let work = Work { program: build()? };
    let mut samples = Samples::open(options.append)?;
    let mut failed = Vec::new();
    for round in 0..options.rounds {
        let phase = PHASES[(options.first + round) % PHASES.len()];
        for (name, part) in &chosen {
            say::line(format_args!(
                "· round {}: {name} (promotion at {phase}) …",
                round + 1
            ));
            if let Err(error) = part(&work, phase, &mut samples) {
                say::line(format_args!("✗ {name}: {error:#}"));
                failed.push(*name);
            }
            // What was measured is kept, whatever becomes of the rest.
            samples.save()?;
        }
    }
    say::answer(samples.table());
    say::line(format_args!(
        "figures: {}",
        samples.write_figures()?.display()
    ));
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say::line(format_args!(
        "not measured in every round: {}",
        failed.join(", ")
    ));
    Ok(ExitCode::FAILURE)
}
