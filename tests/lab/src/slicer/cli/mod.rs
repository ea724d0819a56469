//! The command line.

pub(crate) mod activate;
pub(crate) mod args;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod copy;
pub(crate) mod exec;
pub(crate) mod new;
pub(crate) mod route;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod shell;
pub(crate) mod table;
pub(crate) mod vm;

use anyhow::Result;
use serde_json::Value;

use self::args::{Cli, Command};
use crate::{daemon::up, say, version};

/// Runs a command; gives the exit code.
pub(crate) async fn run(cli: Cli) -> Result<u8> {
    let connection = cli.connection;
    match cli.command {
        Command::New(order) => say::raw(new::yaml(&order)?.as_bytes()),
        Command::Up {
            config,
            file,
            license_file,
            suspend_on_shutdown,
        } => {
            if suspend_on_shutdown {
                // As the original falls back where a VM cannot be suspended (docs: getting-started/daemon.md).
                say::complain(
                    "Warning: --suspend-on-shutdown: no snapshots here, VMs are shut down",
                );
            }
            let path = config.or(file).unwrap_or_else(|| "slicer.yaml".into());
            up::run(&path, license_file.as_deref()).await?;
        }
        Command::Vm { command } => return vm::run(&connection, command).await,
        Command::Ls { json } => return vm::run(&connection, args::Vm::List { json }).await,
        Command::Shell(order) => return vm::run(&connection, args::Vm::Shell(order)).await,
        Command::Cp(order) => return vm::run(&connection, args::Vm::Cp(order)).await,
        Command::Logs { vm, lines } => {
            return vm::run(&connection, args::Vm::Logs { vm, lines }).await;
        }
        Command::Relaunch { vm } => return vm::run(&connection, args::Vm::Relaunch { vm }).await,
        Command::Route { config, os } => route::print(&config, os.as_deref())?,
        Command::Secret { command } => secret::run(&connection, command).await?,
        Command::Service {
            command: args::Service::Generate(order),
        } => service::run(&order)?,
        Command::Activate { license_file } => activate::run(license_file)?,
        Command::Version => {
            say::line(format!("Slicer {} ({})", version::NUMBER, version::COMMIT));
            say::line(version::NOTICE);
        }
        Command::Info { json } => info(&connection, json).await?,
    }
    Ok(0)
}

async fn info(connection: &connect::Connection, as_json: bool) -> Result<()> {
    let server: Value = connection.client()?.get_joined("/info").await?;
    if as_json {
        say::line(serde_json::to_string_pretty(&server)?);
        return Ok(());
    }
    say::line(format!("Client: {} ({})", version::NUMBER, version::COMMIT));
    say::line(format!(
        "Server: {} ({})",
        server["version"].as_str().unwrap_or_default(),
        server["git_commit"].as_str().unwrap_or_default()
    ));
    say::line(version::NOTICE);
    Ok(())
}
