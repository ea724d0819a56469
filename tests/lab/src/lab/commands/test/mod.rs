//! `lab test`: the gate. Static checks first, then unit tests, then the product on fleets; every check runs even when
//! an earlier one failed, and the last line counts them.

mod canary;
mod gate;
mod scenarios;
mod trial;

pub(crate) use trial::{CLUSTER_OF_THREE, Trial};

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::cli::Test;
use crate::place::Place;
use crate::say;

/// One thing that must hold.
struct Check {
    name: &'static str,
    /// Only with `--all`.
    long: bool,
    run: fn(&Place) -> Result<()>,
}

/// Runs the checks.
pub(crate) fn run(options: &Test, place: &Place) -> Result<ExitCode> {
    let checks: Vec<Check> = gate::checks()
        .into_iter()
        .chain(scenarios::checks())
        .collect();
    let chosen = checks.iter().filter(|check| match &options.only {
        Some(only) => check.name.contains(only.as_str()),
        None => options.all || !check.long,
    });
    let (mut passed, mut failed, mut report) = (0_u32, Vec::new(), String::new());
    for check in chosen {
        let begin = Instant::now();
        say::line(format_args!("· {} …", check.name));
        let result = (check.run)(place);
        let seconds = begin.elapsed().as_secs_f64();
        match &result {
            Ok(()) => {
                passed += 1;
                say::line(format_args!("✓ {} ({seconds:.0} s)", check.name));
            }
            Err(error) => {
                failed.push(check.name);
                say::line(format_args!("✗ {} ({seconds:.0} s): {error:#}", check.name));
            }
        }
        let verdict = if result.is_ok() { "passed" } else { "failed" };
        let _ = writeln!(report, "| {} | {verdict} | {seconds:.0} |", check.name);
    }
    if options.all {
        write_report(&report)?;
    }
    if !failed.is_empty() {
        say::line(format_args!(
            "failed: {} — again with `cargo lab test --only NAME`",
            failed.join(", ")
        ));
    }
    say::line(format_args!("{passed} passed, {} failed", failed.len()));
    Ok(if failed.is_empty() && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Leaves a dated report where builds lie.
fn write_report(rows: &str) -> Result<()> {
    let directory = Place::workspace().join("target/lab");
    std::fs::create_dir_all(&directory)?;
    let date = crate::exec::output(std::process::Command::new("date").arg("+%Y-%m-%d-%H%M"))?;
    let path = directory.join(format!("report-{}.md", date.trim()));
    std::fs::write(
        &path,
        format!("| check | verdict | seconds |\n|---|---|---|\n{rows}"),
    )?;
    say::line(format_args!("report: {}", path.display()));
    Ok(())
}
