//! One file a command.

mod down;
mod run;
mod status;
mod up;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::place::Place;
use crate::preconditions::become_root;

/// Does what the command line asks for.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitCode> {
    let place = Place::find()?;
    match cli.command {
        Command::Up(options) => {
            // Builds belong to whoever called, the rest to root.
            let programs = up::build(&options, &place)?;
            become_root(&place)?;
            up::run(&options, programs, &place)
        }
        Command::Down(options) => {
            become_root(&place)?;
            down::run(&options)
        }
        Command::Status => {
            become_root(&place)?;
            status::run()
        }
        Command::Shell(options) => {
            become_root(&place)?;
            run::shell(&options)
        }
        Command::Run(options) => {
            become_root(&place)?;
            run::run(&options)
        }
    }
}
