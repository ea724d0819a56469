//! One file a command.

mod demo;
mod down;
mod run;
mod status;
mod test;
mod up;

use std::process::ExitCode;

use anyhow::Result;

use crate::cache;
use crate::cli::{Cli, Command};
use crate::place::Place;
use crate::preconditions;

/// Does what the command line asks for.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitCode> {
    let place = Place::find()?;
    if let Command::Up(up) = &cli.command {
        // Builds belong to whoever called, not to root.
        up::build(up, &place)?;
    }
    if let Command::Test(_) | Command::Demo = &cli.command {
        cache::binaries::for_machines("slicer-k3s", "slicer-k3s", false)?;
    }
    preconditions::become_root(&place)?;
    match cli.command {
        Command::Up(options) => up::run(&options, &place),
        Command::Down(options) => down::run(&options),
        Command::Demo => demo::run(&place),
        Command::Test(options) => test::run(&options, &place),
        Command::Status => status::run(),
        Command::Shell(options) => run::shell(&options),
        Command::Run(options) => run::run(&options),
    }
}
