//! Ways to break, each with what the product must say about it: a code, the machine, the cause, the next command; with
//! nothing half written, and with a next run that succeeds once the cause is gone.

pub(super) mod long;
mod output;
pub(super) mod quick;

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

use super::super::trial::{Done, Trial};
use crate::place::Place;

/// One way to break.
enum Spoil {
    /// This is what cluster.toml holds.
    File(&'static [u8]),
    /// cluster.toml with these words put in the place of others.
    Edit(&'static [(&'static str, &'static str)]),
    /// A script on a machine, and the one that takes it back.
    On(&'static str, &'static str, &'static str),
    /// A fault of the lab's.
    Fault(&'static [&'static str]),
}

/// What is broken and what must be said.
struct Row {
    /// For people.
    name: &'static str,
    /// All of it.
    spoils: &'static [Spoil],
    /// What the person runs.
    command: &'static str,
    /// The exit code.
    exit: i32,
    /// The error's code.
    code: &'static str,
    /// Words of machine, cause and hint.
    says: &'static [&'static str],
    /// Seconds by which it must have been told.
    within: f64,
}

/// A fleet on which things are broken one after the other.
struct Breaking<'a> {
    trial: &'a Trial,
    /// cluster.toml as it should be.
    good: &'static str,
    /// What was printed, for people to read.
    transcript: String,
}

impl<'a> Breaking<'a> {
    fn new(trial: &'a Trial, good: &'static str) -> Self {
        Self {
            trial,
            good,
            transcript: String::new(),
        }
    }

    /// Breaks, runs, mends, and looks at what was said.
    fn row(&mut self, row: &Row) -> Result<Done> {
        self.write(self.good.as_bytes())?;
        for spoil in row.spoils {
            self.spoil(spoil)
                .with_context(|| format!("breaking: {}", row.name))?;
        }
        let done = self.trial.me(row.command)?;
        for spoil in row.spoils.iter().rev() {
            self.mend(spoil)
                .with_context(|| format!("mending: {}", row.name))?;
        }
        self.write(self.good.as_bytes())?;
        let _ = write!(
            self.transcript,
            "## {} ({:.1} s, exit code {})\n{}\n",
            row.name,
            done.took.as_secs_f64(),
            done.status,
            done.text()
        );
        self.keep()?;
        let verdict = told(row, &done);
        let mark = if verdict.is_ok() { '✓' } else { '✗' };
        let took = done.took.as_secs_f64();
        crate::say::line(format_args!("  {mark} {} ({took:.1} s)", row.name));
        verdict.with_context(|| format!("{}:\n{}", row.name, done.text()))?;
        Ok(done)
    }

    fn write(&self, content: &[u8]) -> Result<()> {
        let path = "/home/me/cluster.toml";
        self.trial.put("workstation", path, "0644", content)
    }

    fn spoil(&self, spoil: &Spoil) -> Result<()> {
        match spoil {
            Spoil::File(content) => self.write(content),
            Spoil::Edit(edits) => {
                let mut text = self.good.to_owned();
                for (from, to) in *edits {
                    if !text.contains(from) {
                        bail!("cluster.toml has no {from}");
                    }
                    text = text.replacen(from, to, 1);
                }
                self.write(text.as_bytes())
            }
            Spoil::On(machine, script, _) => self.trial.root(machine, script)?.expect(0).map(drop),
            Spoil::Fault(words) => self.trial.fault(words),
        }
    }

    fn mend(&self, spoil: &Spoil) -> Result<()> {
        match spoil {
            Spoil::File(_) | Spoil::Edit(_) => Ok(()),
            Spoil::On(machine, _, script) => self.trial.root(machine, script)?.expect(0).map(drop),
            Spoil::Fault(_) => self.trial.fault(&["clear"]),
        }
    }

    /// What was printed so far lies where builds do.
    fn keep(&self) -> Result<()> {
        let directory = Place::workspace().join("target/lab");
        std::fs::create_dir_all(&directory)?;
        let name = format!("{}.txt", self.trial.name());
        std::fs::write(directory.join(name), &self.transcript)?;
        Ok(())
    }
}

/// Whether everything was said, in time, and nothing that a terminal would obey.
fn told(row: &Row, done: &Done) -> Result<()> {
    if done.status != row.exit {
        bail!("exit code {}, not {}", done.status, row.exit);
    }
    let code = format!("error[{}]: ", row.code);
    let errors: Vec<&str> = done
        .stderr
        .lines()
        .filter(|line| line.starts_with("error["))
        .collect();
    if !errors.iter().any(|line| line.starts_with(&code)) {
        bail!("no {code}");
    }
    for words in row.says {
        if !done.stderr.contains(words) {
            bail!("no word of {words:?}");
        }
    }
    let raw = |c: char| c.is_control() && c != '\n';
    if let Some(c) = done.stderr.chars().find(|c| raw(*c)) {
        bail!("{c:?} went to the terminal as it was");
    }
    // A mistake in a file is its own cause, and often its own hint.
    for part in ["cause", "hint"] {
        if row.code != "config" && !done.stderr.contains(&format!("\n  {part}: ")) {
            bail!("no {part}");
        }
    }
    if done.took.as_secs_f64() > row.within {
        bail!(
            "it took {:.1} s to tell, not {}",
            done.took.as_secs_f64(),
            row.within
        );
    }
    Ok(())
}
