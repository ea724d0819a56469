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
pub(crate) use trial::{CLUSTER_OF_ONE, CLUSTER_OF_THREE, Trial};

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
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

/// How a check ended.
struct Verdict {
    name: &'static str,
    passed: bool,
    seconds: f64,
}

impl Check {
    fn judge(&self, place: &Place, seeds: &Seeds) -> Verdict {
        let begin = Instant::now();
        say::line(format_args!("· {} …", self.name));
        let result = match self.run {
            Run::Fixed(run) => run(place),
            Run::Seeded(run) => run(seeds),
        };
        let seconds = begin.elapsed().as_secs_f64();
        match &result {
            Ok(()) => say::line(format_args!("✓ {} ({seconds:.0} s)", self.name)),
            Err(error) => say::line(format_args!("✗ {} ({seconds:.0} s): {error:#}", self.name)),
        }
        Verdict {
            name: self.name,
            passed: result.is_ok(),
            seconds,
        }
    }
}

/// Runs the checks: the quick ones one after the other, since they measure, then the long ones in so many lanes. Most of a long
/// one is waiting.
pub(crate) fn run(options: &Test, place: &Place) -> Result<ExitCode> {
    let (long, quick): (Vec<Check>, Vec<Check>) =
        chosen(options)?.into_iter().partition(|check| check.long);
    let seeds = Seeds::of(options)?;
    let mut verdicts: Vec<Verdict> = quick
        .iter()
        .map(|check| check.judge(place, &seeds))
        .collect();
    if long.len() == 1 || options.lanes == 1 {
        verdicts.extend(long.iter().map(|check| check.judge(place, &seeds)));
    } else {
        verdicts.extend(side_by_side(long, options.lanes, place, &seeds));
    }
    if options.all {
        write_report(&verdicts)?;
    }
    let (passed, failed): (Vec<&Verdict>, Vec<&Verdict>) =
        verdicts.iter().partition(|verdict| verdict.passed);
    if !failed.is_empty() {
        let names: Vec<&str> = failed.iter().map(|verdict| verdict.name).collect();
        say::line(format_args!(
            "failed: {} — again with `cargo lab test --only NAME`",
            names.join(", ")
        ));
    }
    say::line(format_args!(
        "{} passed, {} failed",
        passed.len(),
        failed.len()
    ));
    Ok(if failed.is_empty() && !passed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Each lane takes the next check as soon as it is free; every check has a fleet of its own.
fn side_by_side(checks: Vec<Check>, lanes: u8, place: &Place, seeds: &Seeds) -> Vec<Verdict> {
    let open = Mutex::new(VecDeque::from(checks));
    let verdicts = Mutex::new(Vec::new());
    let lane = || {
        loop {
            let next = open
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(check) = next else {
                return;
            };
            say::about(check.name);
            let verdict = check.judge(place, seeds);
            let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
            verdicts.push(verdict);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(lane);
        }
    });
    verdicts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
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
fn write_report(verdicts: &[Verdict]) -> Result<()> {
    let mut rows = String::new();
    for Verdict {
        name,
        passed,
        seconds,
    } in verdicts
    {
        let verdict = if *passed { "passed" } else { "failed" };
        let _ = writeln!(rows, "| {name} | {verdict} | {seconds:.0} |");
    }
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

    /// A check that is lost in a lane would be a gate that passed without it.
    #[test]
    fn every_check_runs_once_whichever_lane_takes_it() {
        let fails = |_: &Place| bail!("no");
        let checks = (0..9).map(|n| match n % 3 {
            0 => Check::long("fails", fails),
            _ => Check::long("passes", |_| Ok(())),
        });
        let place = Place {
            cache: "/nonexistent".into(),
        };
        let options = Test {
            all: false,
            only: Vec::new(),
            lanes: 3,
            seeds: None,
            seed: Some(1),
        };
        let seeds = Seeds::of(&options).unwrap();
        let verdicts = side_by_side(checks.collect(), 3, &place, &seeds);
        let passed = verdicts.iter().filter(|verdict| verdict.passed).count();
        assert_eq!((verdicts.len(), passed), (9, 6));
    }

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
