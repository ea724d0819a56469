//! Parse, run, report, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use slicer_k3s::{cli::Cli, commands, report, terminal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = terminal::Guard::new();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report::crash(&error),
    };
    let output = cli.global.output;
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(0) => match report::all_written() {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => report::failures(&[failure], output),
        },
        Ok(code) => ExitCode::from(code),
        Err(failures) => report::failures(&failures, output),
    };
    // Threads that sit in a blocking read of stdin must not hold the process up.
    runtime.shutdown_background();
    drop(terminal);
    code
}
