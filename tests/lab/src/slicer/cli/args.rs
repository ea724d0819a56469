//! Commands and flags, by the names that the public material gives them.

mod vm;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use self::vm::{Add, CopyArgs, ExecArgs, ShellArgs, Vm};
use super::connect::Connection;

/// A stand-in for Slicer: a test fixture, not Slicer.
#[derive(Debug, Parser)]
#[command(name = "slicer", disable_version_flag = true)]
pub(crate) struct Cli {
    /// How to reach a daemon.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print a host YAML
    New(Box<New>),
    /// Run the daemon in the foreground
    Up {
        /// The host YAML (slicer.yaml)
        config: Option<PathBuf>,
        /// The host YAML, as a flag
        #[arg(short, long)]
        file: Option<PathBuf>,
        /// The licence file
        #[arg(long)]
        license_file: Option<PathBuf>,
        /// Snapshot VMs at the end instead of shutting them down
        #[arg(long)]
        suspend_on_shutdown: bool,
    },
    /// Work with VMs
    #[command(alias = "v")]
    Vm {
        /// What to do with them
        #[command(subcommand)]
        command: Vm,
    },
    /// List VMs
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// A shell in a VM
    Shell(ShellArgs),
    /// Copy to and from a VM
    Cp(CopyArgs),
    /// A VM's serial log
    Logs {
        /// The VM
        vm: String,
        /// How many lines; 0 for all
        #[arg(long, default_value_t = 20)]
        lines: usize,
    },
    /// Launch a stopped VM again
    Relaunch {
        /// The VM
        vm: String,
    },
    /// Print the commands that route to a daemon's VMs
    Route {
        /// The host YAML
        config: PathBuf,
        /// `linux` or `darwin`
        #[arg(long)]
        os: Option<String>,
    },
    /// Work with secrets
    Secret {
        /// What to do with them
        #[command(subcommand)]
        command: Secret,
    },
    /// Run daemons by systemd
    Service {
        /// What to do
        #[command(subcommand)]
        command: Service,
    },
    /// Write a licence file
    Activate {
        /// Where to
        #[arg(long)]
        license_file: Option<PathBuf>,
    },
    /// Print the client's version
    Version,
    /// Print the client's and the daemon's version
    Info {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Flags of `slicer new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The host group
    pub(crate) hostgroup: String,
    /// CPUs a VM
    #[arg(long, alias = "vcpu", default_value_t = 2)]
    pub(crate) cpu: u32,
    /// Memory a VM, in GiB
    #[arg(long, alias = "ram_gb", default_value_t = 4)]
    pub(crate) ram: u64,
    /// VMs to launch at start
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u32,
    /// The VMs' network
    #[arg(long, default_value = "192.168.137.0/24")]
    pub(crate) cidr: String,
    /// Where VMs' addresses come from
    #[arg(long)]
    pub(crate) range: Option<String>,
    /// What taps' names begin with
    #[arg(long)]
    pub(crate) tap_prefix: Option<String>,
    /// The network's mode
    #[arg(long, default_value = "bridge")]
    pub(crate) net: String,
    /// Where the API listens
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) api_bind: String,
    /// The API's port
    #[arg(long, default_value_t = 8080)]
    pub(crate) api_port: u16,
    /// Whether the API asks for a token
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) api_auth: Option<bool>,
    /// A UNIX socket for the API
    #[arg(long)]
    pub(crate) socket: Option<String>,
    /// The console's port; 0 for none
    #[arg(long, default_value_t = 2222)]
    pub(crate) ssh_port: u16,
    /// Whether to take the caller's public keys
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) find_ssh_keys: bool,
    /// A public key, or the file that holds one
    #[arg(long = "ssh-key", alias = "ssh-keys")]
    pub(crate) ssh_keys: Vec<String>,
    /// Whose keys to import at boot
    #[arg(long = "github", alias = "import-user")]
    pub(crate) github: Option<String>,
    /// Where disks lie
    #[arg(long, default_value = "image")]
    pub(crate) storage: String,
    /// A disk's size
    #[arg(long)]
    pub(crate) storage_size: Option<String>,
    /// Whether VMs of the API keep their disk
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) persistent: Option<bool>,
    /// The first boot's script
    #[arg(long)]
    pub(crate) userdata: Option<String>,
    /// The file that holds it
    #[arg(long)]
    pub(crate) userdata_file: Option<String>,
    /// Whether VMs are shut down cleanly
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) graceful_shutdown: Option<bool>,
    /// The root file system image
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// The minimal image
    #[arg(long)]
    pub(crate) min: bool,
}

/// Commands about secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Create a secret
    Create(SecretArgs),
    /// List secrets
    List {
        /// With sizes, modes and owners
        #[arg(short, long)]
        verbose: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change a secret
    Update(SecretArgs),
    /// Remove a secret
    Remove {
        /// The secret
        name: String,
    },
}

/// Flags of `slicer secret create|update`.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The secret
    pub(crate) name: String,
    /// Its content
    #[arg(long)]
    pub(crate) from_literal: Option<String>,
    /// The file that holds its content
    #[arg(long, conflicts_with = "from_literal")]
    pub(crate) from_file: Option<PathBuf>,
    /// Its mode
    #[arg(long)]
    pub(crate) permissions: Option<String>,
    /// Its owner
    #[arg(long)]
    pub(crate) uid: Option<u32>,
    /// Its group
    #[arg(long)]
    pub(crate) gid: Option<u32>,
}

/// Commands about services.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Print a unit, or install and start it
    Generate(Generate),
}

/// Flags of `slicer service generate`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The host YAML (slicer.yaml)
    pub(crate) config: Option<PathBuf>,
    /// The unit's name
    #[arg(long)]
    pub(crate) name: String,
    /// Install, enable and start it
    #[arg(long)]
    pub(crate) install: bool,
    /// Overwrite a unit that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Run as this user, through sudo
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Where the daemon works
    #[arg(long)]
    pub(crate) working_directory: Option<PathBuf>,
    /// The licence file
    #[arg(long)]
    pub(crate) license_file: Option<PathBuf>,
    /// How long a stop may take, in seconds
    #[arg(long, default_value_t = 120)]
    pub(crate) timeout_stop_sec: u32,
    /// Snapshot VMs at the end instead of shutting them down
    #[arg(long)]
    pub(crate) suspend_on_shutdown: bool,
}
