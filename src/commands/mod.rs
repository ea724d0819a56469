//! One file a command: resolve → steps → run → last words.

mod act;
mod ask;
mod context;
mod destroy;
mod explain;
mod first_contact;
mod folder;
mod generate;
mod init;
mod kubectl;
mod last_words;
mod prove;
mod token;
mod turn;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};
use crate::failure::{Code, Failure};

pub(crate) use context::Context;

/// Runs the command; its exit code, or everything that went wrong before it could begin.
pub async fn run(cli: Cli) -> Result<u8, Vec<Failure>> {
    let Cli { command, global } = cli;
    let work = async {
        match command {
            Command::Init(options) => init::run(&global, options).await,
            Command::Prove(options) => prove::run(&global, options).await,
            Command::Kubectl(options) => return kubectl::run(&global, options).await,
            Command::Generate(options) => generate::run(&global, &options),
            Command::Destroy(options) => destroy::run(&global, options).await,
            Command::Token(options) => token::run(&global, &options),
            Command::Explain(options) => explain::run(&options),
            Command::Completions { shell } => {
                let mut command = Cli::command();
                clap_complete::generate(shell, &mut command, "slicer-k3s", &mut std::io::stdout());
                Ok(0)
            }
        }
    };
    tokio::select! {
        result = work => result,
        failure = interrupted() => Err(vec![failure]),
    }
}

/// Ends when the person or the system asks to stop.
async fn interrupted() -> Failure {
    let stopped = |code| {
        Failure::new(code, "stopped")
            .because("asked to; what is done stays done")
            .hint("run the same command again: it goes on from here")
    };
    let mut terminate =
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(stream) => stream,
            Err(_) => std::future::pending().await,
        };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => stopped(Code::Interrupted),
        _ = terminate.recv() => stopped(Code::Terminated),
    }
}

/// One failure as a list of one.
fn one(failure: Failure) -> Vec<Failure> {
    vec![failure]
}
