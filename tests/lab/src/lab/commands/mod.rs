//! One file a command.

mod bench;
mod demo;
mod down;
mod fault;
mod run;
mod status;
mod test;
mod up;

use std::process::ExitCode;

use anyhow::Result;

use crate::cache::binaries::for_machines;
use crate::cache::parts::Programs;
use crate::cli::{Cli, Command};
use crate::place::Place;
use crate::preconditions::become_root;

/// Does what the command line asks for.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitCode> {
    let place = Place::find()?;
    // Started by a fault, which is root already.
    if let Command::Proxy(options) = &cli.command {
        return fault::proxy(options);
    }
    // Builds belong to whoever called, the rest to root.
    if let Command::Test(options) = &cli.command {
        // A typo shall not cost a build.
        test::chosen(options)?;
    }
    if let Command::Test(_) | Command::Demo = &cli.command {
        for_machines("slicer-k3s", "slicer-k3s", false)?;
        Programs::build(&place, true)?;
    }
    if let Command::Bench(_) = &cli.command {
        bench::build()?;
        Programs::build(&place, true)?;
    }
    if let Command::Up(options) = &cli.command {
        let programs = up::build(options, &place)?;
        become_root(&place)?;
        return up::run(options, programs, &place);
    }
    become_root(&place)?;
    match cli.command {
        Command::Down(options) => down::run(&options),
        Command::Demo => demo::run(&place),
        Command::Test(options) => test::run(&options, &place),
        Command::Bench(options) => bench::run(&options),
        Command::Status => status::run(),
        Command::Shell(options) => run::shell(&options),
        Command::Run(options) => run::run(&options),
        Command::Fault(options) => fault::run(&options),
        // Done above.
        Command::Up(_) | Command::Proxy(_) => Ok(ExitCode::SUCCESS),
    }
}
