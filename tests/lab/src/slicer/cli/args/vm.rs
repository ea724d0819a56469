//! Commands and flags about VMs.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

/// Commands about VMs.
#[derive(Debug, Subcommand)]
pub(crate) enum Vm {
    /// List VMs
    #[command(aliases = ["ls", "l"])]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List host groups
    Group {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Create a VM
    #[command(alias = "launch")]
    Add(Box<Add>),
    /// Delete a VM
    Delete {
        /// The VM
        vm: String,
        /// Its host group
        group: Option<String>,
    },
    /// Run a command in a VM
    Exec(ExecArgs),
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
    /// A VM's health
    Health {
        /// The VM
        vm: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Wait until a VM is ready
    Ready {
        /// The VM
        vm: String,
        /// Until its agent answers (the default)
        #[arg(long, conflicts_with = "userdata")]
        agent: bool,
        /// Until the first boot's script is over
        #[arg(long)]
        userdata: bool,
        /// For how long
        #[arg(long, default_value = "5m")]
        timeout: String,
        /// How often to look
        #[arg(long, default_value = "100ms")]
        interval: String,
    },
    /// Print the commands that route to a daemon's VMs
    Route {
        /// The host YAML
        config: PathBuf,
        /// `linux` or `darwin`
        #[arg(long)]
        os: Option<String>,
    },
    /// Shut a VM down
    Shutdown {
        /// The VM
        vm: String,
        /// `shutdown` or `reboot`
        #[arg(long)]
        action: Option<String>,
    },
    /// Stop a VM's CPUs
    Pause {
        /// The VM
        vm: String,
    },
    /// Continue a paused VM
    Resume {
        /// The VM
        vm: String,
    },
    /// Launch a stopped VM again
    Relaunch {
        /// The VM
        vm: String,
    },
}

/// Flags of `slicer vm add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The host group; may be left out when there is one
    pub(crate) group: Option<String>,
    /// CPUs
    #[arg(long)]
    pub(crate) cpus: Option<u32>,
    /// Memory in GiB
    #[arg(long)]
    pub(crate) ram_gb: Option<u64>,
    /// Memory in MiB
    #[arg(long)]
    pub(crate) ram_mb: Option<u64>,
    /// Memory in bytes
    #[arg(long)]
    pub(crate) ram_bytes: Option<u64>,
    /// The first boot's script
    #[arg(long)]
    pub(crate) userdata: Option<String>,
    /// The file that holds it
    #[arg(long)]
    pub(crate) userdata_file: Option<PathBuf>,
    /// A public key
    #[arg(long = "ssh-key")]
    pub(crate) ssh_keys: Vec<String>,
    /// Whose keys to import at boot
    #[arg(long)]
    pub(crate) import_user: Option<String>,
    /// A tag
    #[arg(long = "tag")]
    pub(crate) tags: Vec<String>,
    /// A secret it gets
    #[arg(long = "secret")]
    pub(crate) secret: Vec<String>,
    /// Secrets it gets
    #[arg(long, value_delimiter = ',')]
    pub(crate) secrets: Vec<String>,
    /// Whether its disk is kept
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) persistent: Option<bool>,
    /// Wait for its agent
    #[arg(long)]
    pub(crate) wait: bool,
    /// Wait for the first boot's script
    #[arg(long)]
    pub(crate) wait_userdata: bool,
    /// For how long
    #[arg(long)]
    pub(crate) timeout: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `slicer vm exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// The VM
    pub(crate) vm: String,
    /// Whose rights
    #[arg(long)]
    pub(crate) uid: Option<u32>,
    /// Whose group
    #[arg(long)]
    pub(crate) gid: Option<u32>,
    /// Where
    #[arg(long)]
    pub(crate) cwd: Option<String>,
    /// More environment
    #[arg(long)]
    pub(crate) env: Vec<String>,
    /// The shell; empty for none
    #[arg(long, default_value = "/bin/bash")]
    pub(crate) shell: String,
    /// The command
    #[arg(trailing_var_arg = true)]
    pub(crate) command: Vec<String>,
}

/// Flags of `slicer vm shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// The VM; may be left out when there is one
    pub(crate) vm: Option<String>,
    /// Whose rights
    #[arg(long)]
    pub(crate) uid: Option<u32>,
    /// Where
    #[arg(long)]
    pub(crate) cwd: Option<String>,
    /// The shell
    #[arg(long, default_value = "/bin/bash")]
    pub(crate) shell: String,
}

/// Flags of `slicer vm cp`.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// From where (`VM:path` in a VM)
    pub(crate) from: String,
    /// To where
    pub(crate) to: String,
    /// Whole directories
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// `tar` or `binary`
    #[arg(long)]
    pub(crate) mode: Option<String>,
    /// The owner in the VM
    #[arg(long)]
    pub(crate) uid: Option<u32>,
    /// The group in the VM
    #[arg(long)]
    pub(crate) gid: Option<u32>,
    /// The mode in the VM
    #[arg(long)]
    pub(crate) permissions: Option<String>,
}
