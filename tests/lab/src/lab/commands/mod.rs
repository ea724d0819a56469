//! One file a command.

mod down;
mod run;
mod status;
mod up;

use std::process::ExitCode;

use anyhow::Result;

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
    preconditions::become_root(&place)?;
    match cli.command {
        Command::Up(options) => up::run(&options, &place),
        Command::Down(options) => down::run(&options),
        Command::Status => status::run(),
        Command::Shell(options) => run::shell(&options),
        Command::Run(options) => run::run(&options),
    }
}
