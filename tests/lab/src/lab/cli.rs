//! The lab's command line; doc comments are the help text.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// A whole fleet on one Linux machine: real systemd machines, real SSH, real routes.
#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo lab", disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a fleet; whatever is missing is built first.
    Up(Up),
    /// Stop a fleet; nothing of it is left.
    Down(Down),
    /// The product's main job on fleet `three`, as a user would see it; the fleet stays up.
    Demo,
    /// Check everything this project promises.
    Test(Test),
    /// Show what is up.
    Status,
    /// A root shell on a machine (default: the workstation, as its user).
    Shell(Shell),
    /// Run a command on a machine as root and pass its exit code on.
    Run(Run),
}

/// Options of `up`.
#[derive(clap::Args)]
pub(crate) struct Up {
    /// Which fleet: one, three, bare, six, or any other file in fleets/.
    #[arg(long, default_value = "three")]
    pub(crate) fleet: String,
    /// Start it under another name, so that a fleet can be up twice.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Choose among the possibilities that Slicer's documentation leaves open.
    #[arg(long = "variant", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) variants: Vec<(String, String)>,
    /// Archives of images to serve instead of the lab's own.
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// Charts to serve instead of the lab's own.
    #[arg(long, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
    /// Machines only: nothing can be downloaded or looked up by name.
    #[arg(long)]
    pub(crate) without_internet: bool,
}

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Also what takes long; leaves a dated report under target/lab.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only the checks whose name contains this.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Option<String>,
}

/// Options of `down`.
#[derive(clap::Args)]
pub(crate) struct Down {
    /// Which fleet (default: the only one that is up).
    #[arg(long, conflicts_with = "all")]
    pub(crate) fleet: Option<String>,
    /// All that are up.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Options of `shell`.
#[derive(clap::Args)]
pub(crate) struct Shell {
    /// Which fleet (default: the only one that is up).
    #[arg(long)]
    pub(crate) fleet: Option<String>,
    /// workstation, internet, a host or a VM.
    #[arg(default_value = "workstation")]
    pub(crate) machine: String,
}

/// Options of `run`.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Which fleet (default: the only one that is up).
    #[arg(long)]
    pub(crate) fleet: Option<String>,
    /// workstation, internet, a host or a VM.
    pub(crate) machine: String,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
