//! `lab status`: which fleets are up, and their machines.

use std::process::ExitCode;

use anyhow::Result;

use crate::machine;
use crate::say;
use crate::state::{Role, State};

/// Prints the fleets that are up.
pub(crate) fn run() -> Result<ExitCode> {
    let fleets = State::all()?;
    if fleets.is_empty() {
        say::answer("no fleet is up: start one with `cargo lab up`");
    }
    for fleet in fleets {
        let state = if fleet.complete {
            "up"
        } else {
            "incomplete: `cargo lab down` clears it away"
        };
        say::answer(format_args!(
            "fleet {} ({}): {state}",
            fleet.name, fleet.fleet
        ));
        for item in &fleet.machines {
            let role = match item.role {
                Role::Host => "host",
                Role::Workstation => "workstation",
                Role::Internet => "internet",
            };
            let life = if machine::alive(&fleet, item) {
                "running"
            } else {
                "stopped"
            };
            say::answer(format_args!(
                "  {:<13} {:<12} {:<15} {:<8} {life}",
                item.name, role, item.address, item.user
            ));
            for vm in machine::virtual_machines(&fleet, item) {
                say::answer(format_args!("    {vm}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
