//! `lab test`: the gate. Static checks first, then unit tests, then the product on fleets; every check runs even when
//! an earlier one failed, and the last line counts them.

mod canary;
mod gate;
mod prints;
mod scenarios;
mod seeds;
mod trial;

pub(crate) use prints::{FILES_AND_UNITS, Prints};
pub(crate) use seeds::Seeds;
pub(crate) use trial::{CLUSTER_OF_THREE, Trial};

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cli::Test;
use crate::place::Place;
use crate::say;

/// One thing that must hold.
pub(crate) struct Check {
    name: &'static str,
    /// Only with `--all`.
    long: bool,
    run: Run,
}

/// What a check does.
enum Run {
    /// The same each time.
    Fixed(fn(&Place) -> Result<()>),
    /// As many rounds as are wanted, each at a moment of its own.
    Seeded(fn(&Seeds) -> Result<()>),
}

impl Check {
    /// Part of every change's test.
    const fn quick(name: &'static str, run: fn(&Place) -> Result<()>) -> Self {
        Self {
            name,
            long: false,
            run: Run::Fixed(run),
        }
    }

    /// Only with `--all`.
    const fn long(name: &'static str, run: fn(&Place) -> Result<()>) -> Self {
        Self {
            name,
            long: true,
            run: Run::Fixed(run),
        }
    }

    /// Only with `--all`; kills at random moments.
    const fn seeded(name: &'static str, run: fn(&Seeds) -> Result<()>) -> Self {
        Self {
            name,
            long: true,
            run: Run::Seeded(run),
        }
    }
}

/// Runs the checks.
pub(crate) fn run(options: &Test, place: &Place) -> Result<ExitCode> {
    let chosen = chosen(options)?;
    let seeds = Seeds::of(options)?;
    let (mut passed, mut failed, mut report) = (0_u32, Vec::new(), String::new());
    for check in chosen {
        let begin = Instant::now();
        say::line(format_args!("· {} …", check.name));
        let result = match check.run {
            Run::Fixed(run) => run(place),
            Run::Seeded(run) => run(&seeds),
        };
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

/// The checks that were asked for; a word that names none is an error that lists those there are.
pub(crate) fn chosen(options: &Test) -> Result<Vec<Check>> {
    let mut checks: Vec<Check> = gate::checks()
        .into_iter()
        .chain(scenarios::checks())
        .collect();
    if options.only.is_empty() {
        checks.retain(|check| options.all || !check.long);
        return Ok(checks);
    }
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    let wanted = named(&names, &options.only)?;
    checks.retain(|check| wanted.contains(check.name));
    Ok(checks)
}

/// The names that these words mean: the one that is a word itself, else all that contain it.
fn named<'n>(names: &[&'n str], words: &[String]) -> Result<BTreeSet<&'n str>> {
    let mut wanted = BTreeSet::new();
    for word in words {
        let mut meant: Vec<&str> = names.iter().copied().filter(|name| name == word).collect();
        if meant.is_empty() && !word.is_empty() {
            meant.extend(names.iter().filter(|name| name.contains(word.as_str())));
        }
        if meant.is_empty() {
            bail!("there is no test `{word}`, only {}", names.join(", "));
        }
        wanted.extend(meant);
    }
    Ok(wanted)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A slip of the pen must not look like a gate that passed.
    #[test]
    fn a_word_that_names_no_test_is_an_error_that_lists_them() {
        let names = ["rustfmt", "init-one", "init-one-more"];
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            named(&names, &words).map(Vec::from_iter)
        };
        assert_eq!(of(&["init-one"]).unwrap(), ["init-one"]);
        assert_eq!(of(&["init"]).unwrap(), ["init-one", "init-one-more"]);
        assert_eq!(of(&["rust", "init-one"]).unwrap(), ["init-one", "rustfmt"]);
        assert_eq!(of(&["init", "init-o"]).unwrap().len(), 2);
        for wrong in [&["rustfmt", "inti"][..], &[""]] {
            let error = of(wrong).unwrap_err().to_string();
            assert!(error.contains("rustfmt, init-one"), "{error}");
        }
    }
}
