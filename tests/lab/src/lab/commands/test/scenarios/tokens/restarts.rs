//! Servers restart by themselves in the middle of a rotation that was cut short: the same command finishes it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::home::{Home, ONE};
use super::super::{UNHURRIED, UNPROVEN, changes_nothing};
use super::agent_at_work::AgentAtWork;
use super::cut_short::{Done, cut_short};
use super::rotation::{self, Kind};
use crate::place::Place;
use crate::say;

/// A server that is locked out has failed to start twice by then.
const MEANWHILE: Duration = Duration::from_secs(15);

/// What is killed, when, and which servers restart then.
const CASES: [(Kind, Done, &[usize]); 8] = [
    (Kind::Server, Done::Sealed, &[0]),
    (Kind::Server, Done::Sealed, &[1]),
    // None of them is up to be asked for anything: "encrypted with different token".
    (Kind::Server, Done::Sealed, &[0, 1, 2]),
    (Kind::Server, Done::Configured, &[0]),
    (Kind::Server, Done::Configured, &[2]),
    (Kind::Agent, Done::Configured, &[0]),
    (Kind::Agent, Done::Configured, &[2]),
    (Kind::Agent, Done::Configured, &[0, 1, 2]),
];

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "rotate-cut")?;
    let agent = AgentAtWork::made(&home.trial)?;
    for (kind, done, which) in CASES {
        let servers: Vec<&str> = which.iter().map(|place| home.servers[*place]).collect();
        let what = format!(
            "{} token, {done:?}, {} restarted",
            kind.word(),
            servers.join(", ")
        );
        say::line(format_args!("  {what}"));
        once(&home, &agent, (kind, done), &servers).context(what)?;
    }
    changes_nothing(&home.trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

fn once(home: &Home, agent: &AgentAtWork, cut: (Kind, Done), servers: &[&str]) -> Result<()> {
    let rotation = cut_short(home, cut.0, cut.1)?;
    for server in servers {
        home.trial
            .root(server, "systemctl restart --no-block k3s")?
            .expect(0)?;
    }
    std::thread::sleep(MEANWHILE);
    rotation::run(home, &cut.0.unproven())?;
    rotation.holds(home, Some(agent), 2)
}
