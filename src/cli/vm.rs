//! `exec`, `shell` and `logs`: what reaches into a VM, as arguments.

use clap::Args;

/// Run a command as root in a VM, by its own or its Node's name; no route and no key needed.
///
/// Servers are reached over SSH through their host, agents through Slicer's API. What is piped in becomes the command's
/// stdin, and its exit code is ours; 125 where it could not be run. A server gives it a terminal where this is one.
#[derive(Clone, Debug, Args)]
pub struct Exec {
    /// The VM or its Node
    pub vm: String,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub command: Vec<String>,
}

/// Open a shell as root in a VM, by its own or its Node's name; no route and no key needed.
#[derive(Clone, Debug, Args)]
pub struct Shell {
    /// The VM or its Node
    pub vm: String,
}

/// Show logs: of a VM's services or its console, of a group's daemon, of the autoscaler.
#[derive(Clone, Debug, Args)]
pub struct Logs {
    /// A VM or its Node, a group (its Slicer daemon), or `autoscaler`
    pub name: String,

    /// This systemd unit of the VM; by default k3s's own
    #[arg(long, short, conflicts_with = "console")]
    pub unit: Option<String>,

    /// The VM's serial console: its boot, where no unit runs yet
    #[arg(long)]
    pub console: bool,

    /// Go on until interrupted
    #[arg(long, short)]
    pub follow: bool,

    /// The last lines to begin with
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
    pub lines: u32,
}
