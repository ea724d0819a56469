//! `cargo lab`: a whole fleet on one Linux machine.

mod address;
mod cache;
mod cgroup;
mod cli;
mod commands;
mod exec;
mod fault;
mod fleet;
mod inotify;
mod internet;
mod machine;
mod network;
mod place;
mod preconditions;
mod proxy;
mod say;
mod state;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::dispatch(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            say::line(format_args!("lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
