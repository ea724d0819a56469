//! A stand-in for Slicer, written from its public contract: a test fixture that is never released.
//!
//! One binary is daemon (`slicer up`) and client, as the original is. "VMs" are nested systemd machines.

mod api;
mod cli;
mod daemon;
mod host;
mod machine;
mod say;
mod time;
mod version;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::args::Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::complain(format!("Error: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(cli::run(cli));
    // A thread that still reads standard input must not hold the end.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say::complain(format!("Error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
