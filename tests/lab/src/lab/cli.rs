//! The lab's command line; doc comments are the help text.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

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
    /// Measure the product against the same work by hand and against the least that it can take.
    Bench(Bench),
    /// Show what is up.
    Status,
    /// A root shell on a machine (default: the workstation, as its user).
    Shell(Shell),
    /// Run a command on a machine as root and pass its exit code on.
    Run(Run),
    /// Break something on purpose.
    Fault(Fault),
    /// The proxy that some faults put before an SSH server.
    #[command(hide = true)]
    Proxy(Proxy),
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
    /// Only the checks of these names, or whose name contains this.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How many of the long checks run side by side, each on a fleet of its own.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) lanes: u8,
    /// Rounds of each check that kills at random moments.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// The first round's seed, which decides its moment; the next round has the next one.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
}

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// Rounds; each runs every part once.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Only these parts: product, floor, manual, init, proven, one, add-host, enrol.
    #[arg(long, value_name = "PART")]
    pub(crate) only: Vec<String>,
    /// Add to what earlier runs measured.
    #[arg(long)]
    pub(crate) append: bool,
    /// The round to begin with, where a benchmark is run in pieces: it decides when learners are promoted.
    #[arg(long, value_name = "ROUND", default_value_t = 0)]
    pub(crate) first: usize,
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

/// Options of `fault`.
#[derive(clap::Args)]
pub(crate) struct Fault {
    /// Which fleet (default: the only one that is up).
    #[arg(long)]
    pub(crate) fleet: Option<String>,
    #[command(subcommand)]
    pub(crate) kind: FaultKind,
}

/// What to break.
#[derive(Subcommand)]
pub(crate) enum FaultKind {
    /// SSH connections are refused.
    SshRefused { machine: String },
    /// SSH connections are reset in the middle of whatever they do.
    SshReset {
        machine: String,
        #[arg(long, default_value_t = 500)]
        after_ms: u64,
    },
    /// Whatever is sent over SSH arrives late.
    SshSlow {
        machine: String,
        #[arg(long, default_value_t = 200)]
        ms: u64,
    },
    /// A route is removed once.
    RouteLost { machine: String, cidr: String },
    /// A machine's cable is pulled.
    LinkDown { machine: String },
    /// A machine's cable is pulled and plugged in again.
    LinkFlap {
        machine: String,
        #[arg(long, default_value_t = 1000)]
        ms: u64,
    },
    /// A host's Slicer API misbehaves.
    Api {
        machine: String,
        #[arg(value_enum)]
        mode: ApiMode,
        /// Only the daemon of this group.
        #[arg(long, default_value = "*")]
        group: String,
        /// How slow, with mode slow.
        #[arg(long, default_value_t = 3000)]
        ms: u64,
    },
    /// VMs of a host do not come up.
    VmBoot {
        machine: String,
        #[arg(value_enum)]
        mode: BootMode,
        /// Only this VM.
        #[arg(long, default_value = "*")]
        vm: String,
    },
    /// The userdata of a host's VMs fails.
    Userdata {
        machine: String,
        /// Only this VM.
        #[arg(long, default_value = "*")]
        vm: String,
    },
    /// A VM is killed once, with whatever runs in it (an etcd member, say).
    VmDies { vm: String },
    /// A VM is killed once and its disk is lost, as when somebody deletes its image. Slicer makes a new one when it boots
    /// the VM again (see variant `disk-lost`).
    DiskLost { vm: String },
    /// A host or VM reboots once.
    Reboot { machine: String },
    /// Nothing can be written on a machine or VM.
    DiskFull {
        machine: String,
        /// Only below these directories.
        paths: Vec<String>,
    },
    /// `date` is wrong on a machine or VM.
    Date {
        machine: String,
        /// By so much; negative is in the past.
        #[arg(long, default_value_t = 86_400, allow_negative_numbers = true)]
        seconds: i64,
    },
    /// A host's Slicer token changes.
    Token {
        machine: String,
        #[arg(value_enum)]
        mode: TokenMode,
    },
    /// A host's Slicer daemons are restarted once.
    DaemonRestart { machine: String },
    /// A name on the Internet misbehaves.
    Name {
        name: String,
        #[arg(value_enum)]
        mode: NameMode,
    },
    /// End the faults of a machine, or all.
    Clear { machine: Option<String> },
    /// Show the faults that last.
    List,
}

/// How an API misbehaves.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApiMode {
    /// Connections are refused.
    Refuse,
    /// No token is good enough.
    #[value(name = "401")]
    #[serde(rename = "401")]
    Unauthorized,
    /// Every call fails.
    #[value(name = "500")]
    #[serde(rename = "500")]
    Broken,
    /// No call is answered.
    Hang,
    /// Answers are late.
    Slow,
}

/// How a VM does not come up.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BootMode {
    /// It stays silent.
    Never,
    /// It ends in the middle of its boot.
    Die,
}

/// How a token changes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TokenMode {
    /// The file no longer holds what the daemons accept.
    Wrong,
    /// A new one, which the daemons are restarted with.
    Rotated,
}

/// How a name misbehaves.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NameMode {
    /// Connections are reset.
    Unreachable,
    /// Every request fails.
    #[value(name = "500")]
    #[serde(rename = "500")]
    Broken,
    /// Bodies end in the middle.
    Truncate,
    /// Downloads arrive damaged.
    Badsum,
    /// Slicer's installer stops half-way.
    Half,
    /// Answers trickle.
    Slow,
}

/// Options of the proxy.
#[derive(clap::Args)]
pub(crate) struct Proxy {
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long, default_value_t = 0)]
    pub(crate) delay_ms: u64,
    #[arg(long)]
    pub(crate) reset_after_ms: Option<u64>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
