//! One file a command: resolve → steps → run → last words.

mod act;
mod add_host;
mod ask;
mod cluster_file;
mod config_file;
mod consent;
mod context;
mod destroy;
mod exec;
mod explain;
mod first_contact;
mod folder;
mod form;
mod generate;
#[cfg(test)]
mod hints;
mod import;
mod init;
mod kubectl;
mod last_words;
mod logs;
mod missing;
mod one_host;
mod passed_on;
mod plan_file;
mod prove;
mod remove_host;
mod rotate_token;
mod routes;
mod servers;
mod shell;
mod status;
mod token;
mod turn;
mod vm;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};
use crate::failure::{Failure, Failures};
use crate::stop::{self, Request, Requests};
use crate::{log, report};

pub(crate) use context::Context;

/// Runs the command; its exit code, or everything that went wrong before it could begin.
pub async fn run(cli: Cli) -> Result<u8, Failures> {
    let Cli { command, global } = cli;
    log::verbose(global.verbose, report::tell);
    form::check(&command, global.output)?;
    let work = async {
        match command {
            Command::Init(options) => Box::pin(init::run(&global, options)).await,
            Command::AddHost(options) => add_host::run(&global, &options).await,
            Command::RemoveHost(options) => Box::pin(remove_host::run(&global, &options)).await,
            Command::Prove(options) => prove::run(&global, options).await,
            Command::Kubectl(options) => return kubectl::run(&global, options).await,
            Command::Exec(options) => exec::run(&global, &options).await,
            Command::Shell(options) => shell::run(&global, &options).await,
            Command::Logs(options) => Box::pin(logs::run(&global, &options)).await,
            Command::Generate(options) => generate::run(&global, &options),
            Command::Destroy(options) => destroy::run(&global, options).await,
            Command::Import(options) => import::run(&global, &options).await,
            Command::Status(options) => Box::pin(status::run(&global, &options)).await,
            Command::RotateToken(options) => rotate_token::run(&global, options).await,
            Command::Routes(options) => routes::run(&global, &options).await,
            Command::Token(options) => token::run(&global, &options),
            Command::Explain(options) => explain::run(&options),
            Command::Completions { shell } => {
                let (mut command, mut script) = (Cli::command(), Vec::new());
                clap_complete::generate(shell, &mut command, "slicer-k3s", &mut script);
                report::data(&String::from_utf8_lossy(&script));
                Ok(0)
            }
        }
    };
    // Both now: the first question may be on the screen before another thread has come to listen, and an unheard Ctrl-C would
    // end the program on the spot.
    let requests = Requests::listen();
    tokio::spawn(stop::at_once(Requests::listen()));
    tokio::select! {
        // First: a run that was told to stop ends by itself, with its own words. What a question did to the terminal ends with
        // the work.
        biased;
        result = work => result,
        request = stop::asked(requests) => Err(vec![stopped(request)]),
    }
}

/// What a run that was asked to stop ends with.
fn stopped(request: Request) -> Failure {
    Failure::new(request.code(), format!("stopped by {}", request.words()))
        .because("what is done stays done")
        .hint("run the same command again: it goes on from here")
}
