//! Two people: what one has rotated the other's state does not know. It is refused, before anything is written, and
//! `import --force` brings it up to date.

use anyhow::{Context as _, Result};

use super::super::super::trial::Done;
use super::super::fingerprint::Fingerprint;
use super::super::home::{Home, ONE, says};
use super::super::{UNHURRIED, UNPROVEN, changes_nothing};
use super::cut_short::{self, cut_short};
use super::rotation::{self, Kind, Rotation};
use crate::place::Place;

/// Where the second person's file and state are.
const SECOND: &str = "cd second && XDG_STATE_HOME=~/second";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "rotate-two")?;
    home.trial
        .me("mkdir second && cp cluster.toml second/")?
        .expect(0)?;
    second(&home, "slicer-k3s import --yes")?.expect(0)?;
    let changes = second(&home, UNPROVEN)?;
    says(&changes, &[0], &["Nothing to change"])?;

    let mut replaced = Vec::new();
    for kind in [Kind::Agent, Kind::Server] {
        for rotates in [by_the_first, by_the_second] {
            rotates(&home, kind)
                .and_then(|rotation| kept(&home, kind, &rotation, &mut replaced))
                .with_context(|| format!("{} token", kind.word()))?;
        }
    }
    for (kind, finishes) in [
        (Kind::Agent, UNPROVEN.to_owned()),
        (Kind::Server, Kind::Server.unproven()),
    ] {
        in_the_middle(&home, kind, &finishes)
            .and_then(|rotation| kept(&home, kind, &rotation, &mut replaced))
            .with_context(|| format!("{} token, cut short", kind.word()))?;
    }
    home.stands()
}

/// The first rotates: the second is refused until it has imported, and can rotate itself then.
fn by_the_first(home: &Home, kind: Kind) -> Result<Rotation> {
    let rotation = Rotation::of(&home.trial, kind)?;
    rotation::run(home, &kind.unproven())?;
    refused(home, kind, |command| second(home, command))?;
    second(home, "slicer-k3s import --force --yes")?.expect(0)?;
    let done = second(home, UNPROVEN)?;
    says(&done, &[0], &["Nothing to change"])?;
    rotation.holds(home, None, 1)?;
    Ok(rotation)
}

/// The same the other way round.
fn by_the_second(home: &Home, kind: Kind) -> Result<Rotation> {
    let rotation = Rotation::of(&home.trial, kind)?;
    second(home, &kind.unproven())?.expect(0)?;
    refused(home, kind, |command| home.trial.me(command))?;
    home.trial
        .me("slicer-k3s import --force --yes")?
        .expect(0)?;
    changes_nothing(&home.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    rotation.holds(home, None, 1)?;
    Ok(rotation)
}

/// The first is killed in the middle: the second finishes it, and the first is brought up to date.
fn in_the_middle(home: &Home, kind: Kind, finishes: &str) -> Result<Rotation> {
    let rotation = cut_short(home, kind, cut_short::Done::Configured)?;
    refused(home, kind, |command| second(home, command))?;
    second(home, "slicer-k3s import --force --yes")?.expect(0)?;
    second(home, finishes)?.expect(0)?;
    home.trial
        .me("slicer-k3s import --force --yes")?
        .expect(0)?;
    rotation.holds(home, None, 1)?;
    changes_nothing(&home.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    let done = second(home, "slicer-k3s import --force --yes")?.expect(0)?;
    says(&done, &[0], &[])?;
    Ok(rotation)
}

/// Both have every server token that was replaced, whoever did it: an import takes over what its state knew before.
fn kept(home: &Home, kind: Kind, rotation: &Rotation, replaced: &mut Vec<String>) -> Result<()> {
    if kind == Kind::Server {
        replaced.push(rotation.old().to_owned());
    }
    rotation::former(|command| home.trial.me(command), replaced).context("the first person")?;
    rotation::former(|command| second(home, command), replaced).context("the second person")
}

/// Every command that would write goes by a token that was replaced, and says which, where from, and what to do.
fn refused(home: &Home, kind: Kind, run: impl Fn(&str) -> Result<Done>) -> Result<()> {
    let before = Fingerprint::of(home)?;
    for command in [
        UNPROVEN.to_owned(),
        Kind::Agent.unproven(),
        Kind::Server.unproven(),
    ] {
        let done = run(&command)?;
        says(
            &done,
            &[1, 2],
            &[kind.word(), "token", "workstation", "import --force"],
        )
        .and_then(|()| before.unchanged(home))
        .with_context(|| command.clone())?;
    }
    Ok(())
}

fn second(home: &Home, command: &str) -> Result<Done> {
    home.trial.me(&format!("{SECOND} {command}"))
}
