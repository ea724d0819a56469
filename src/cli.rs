//! The command line; doc comments are the help text.

mod hosts;
mod routes;
mod vm;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use hosts::{AddHost, RemoveHost};
pub use routes::{Routes, RoutesAction, System};
pub use vm::{Exec, Logs, Shell};

/// The heading of [`Global`].
const EVERY: &str = "Options of every command";

/// From bare machines to a proven, highly available, autoscaling k3s cluster on Slicer
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,

    /// Options every command takes
    #[command(flatten)]
    pub global: Global,
}

/// Options every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The cluster's file
    #[arg(
        long,
        short,
        global = true,
        help_heading = EVERY,
        default_value = "cluster.toml",
        env = "SLICER_K3S_CONFIG"
    )]
    pub config: PathBuf,

    /// How to report: for people, one JSON document (commands that tell), or one JSON event a line (commands that act)
    #[arg(long, global = true, help_heading = EVERY, value_enum, default_value_t = Output::Human)]
    pub output: Output,

    /// Trust host keys that no known_hosts file has, and remember them
    #[arg(long, global = true, help_heading = EVERY)]
    pub accept_new_host_keys: bool,

    /// Tell where the time went, by step, when a command that acts is done
    #[arg(long, global = true, help_heading = EVERY)]
    pub timings: bool,

    /// Tell which commands change machines; twice: every look and request as well
    #[arg(long, short, global = true, help_heading = EVERY, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Human,
    /// One versioned document on stdout.
    Json,
    /// The event stream (docs/events.md) on stdout.
    Ndjson,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring the cluster of cluster.toml up, from bare hosts to a proven autoscaler
    Init(Init),
    /// Enrol more hosts as workers: looks, proposes, edits cluster.toml in place
    AddHost(Box<AddHost>),
    /// Take a host's workers away: drains, removes, edits cluster.toml in place
    RemoveHost(RemoveHost),
    /// Prove again that groups scale up and down
    Prove(Prove),
    /// Write every file of the cluster into a directory, without touching a machine
    Generate(Generate),
    /// Run kubectl on the cluster; no route and no kubectl needed
    Kubectl(Kubectl),
    /// Run a command as root in a VM; no route and no key needed
    Exec(Exec),
    /// Open a shell as root in a VM
    Shell(Shell),
    /// Show logs: of a VM's services or its console, of a group's daemon, of the autoscaler
    Logs(Logs),
    /// Show hosts, groups, nodes and what drifted; exit 4 where anything did
    Status(Status),
    /// Show who needs which route and why; keep them on the hosts; print them for other machines
    Routes(Routes),
    /// Tell where the join tokens are
    Token(Token),
    /// Explain an error code or a step: what it means, what causes it, what to do
    Explain(Explain),
    /// Replace a join token everywhere, and see that the old one is refused
    RotateToken(RotateToken),
    /// Rebuild a lost cluster.toml and the cluster's state from its hosts
    Import(Import),
    /// Remove the cluster from its hosts, and nothing of anybody else's
    Destroy(Destroy),
    /// Print a shell's completion script
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Bring the cluster of cluster.toml up, from bare hosts to a proven autoscaler.
///
/// Looks at every host, prints the plan, asks once, and makes each fact of it true. What is true
/// already is kept: run it again after a failure, a change of cluster.toml or a kill.
#[derive(Clone, Debug, Args)]
pub struct Init {
    /// What is allowed and what is left out.
    #[command(flatten)]
    pub making: Making,

    /// Merge the kubeconfig into yours ($KUBECONFIG or ~/.kube/config)
    #[arg(long)]
    pub merge: bool,

    /// The context's name when merging
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Install this workstation's route to the control plane (needs sudo)
    #[arg(long)]
    pub workstation_route: bool,

    /// Allow restarts that cost workers or reboot servers
    #[arg(long)]
    pub allow_outage: bool,

    /// Give up what this server holds where servers hold two clusters: its data is moved aside, and it joins the others
    #[arg(long, value_name = "SERVER", value_delimiter = ',', help_heading = LOST)]
    pub give_up: Vec<String>,

    /// Found a new, empty cluster in the place of this one; what the servers hold is moved aside
    #[arg(long, value_name = "NAME", conflicts_with = "give_up", help_heading = LOST)]
    pub force_new_cluster: Option<String>,

    /// A host (or `NAME=local` for this machine); once for each
    #[arg(long = "host", value_name = "NAME=USER@ADDRESS", help_heading = NEW)]
    pub hosts: Vec<String>,

    /// The host that runs the servers, or three for one on each
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = NEW)]
    pub control_plane: Vec<String>,

    /// The cluster's name
    #[arg(long, value_name = "NAME", help_heading = NEW)]
    pub name: Option<String>,
}

/// How a command goes about making hosts part of a cluster.
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
pub struct Making {
    /// Do not ask before changing hosts (never accepts a licence or a host key)
    #[arg(long, short)]
    pub yes: bool,

    /// Say what would change; change nothing; exit 3 if anything would
    #[arg(long)]
    pub dry_run: bool,

    /// Install Slicer where it is missing
    #[arg(long)]
    pub install_slicer: bool,

    /// You have read and accept Slicer's licence (EULA); needed by --install-slicer
    #[arg(long)]
    pub accept_slicer_licence: bool,

    /// Do not prove scaling at the end
    #[arg(long)]
    pub skip_proof: bool,
}

/// The heading of flags that give data up.
const LOST: &str = "Where a cluster's data is lost or doubled";

/// The heading of flags that only a first run needs.
const NEW: &str = "Where there is no cluster.toml yet";

/// Write every file of the cluster into a directory, without touching a machine.
///
/// Host YAML, units, routes, k3s's configuration, devices.json, cloud-config.toml, Helm values: the same bytes that `init`
/// puts on hosts and servers, each below `hosts/NAME` or `servers/NAME` at its own path. Goes by the last plan of `init`;
/// before there is one, by cluster.toml alone and what it says it assumes. Prints the files' names.
#[derive(Clone, Debug, Args)]
pub struct Generate {
    /// The directory; files that slicer-k3s did not write there are never overwritten
    #[arg(long, value_name = "DIR", default_value = "generated")]
    pub out: PathBuf,
}

/// Prove again that groups scale up and down.
#[derive(Clone, Debug, Args)]
pub struct Prove {
    /// Groups to prove; all where none is named
    pub groups: Vec<String>,

    /// Pods to start in each group; each takes a VM of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pods: u32,
}

/// Run kubectl on the cluster; no route and no kubectl needed.
#[derive(Clone, Debug, Args)]
pub struct Kubectl {
    /// kubectl's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Explain an error code or a step: what it means, what causes it, what to do.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The code or step, as a report prints it; all are listed where none is named
    pub name: Option<String>,
}

/// Show hosts, groups, nodes and what drifted.
///
/// Looks at everything side by side and changes nothing. Each thing that is not as it should be is told with its machine
/// and with the command that mends it. Exit code 0 without drift, 4 with, 1 where a host does not answer, 2 where
/// cluster.toml is wrong and all is compared with what the last run read.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// Look again and again until interrupted
    #[arg(long, short)]
    pub watch: bool,

    /// Seconds between two looks of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
}

/// Tell where the join tokens are.
#[derive(Clone, Debug, Args)]
pub struct Token {
    /// Print this token to stdout: `agent` or `server`
    #[arg(long, value_enum, value_name = "WHICH")]
    pub reveal: Option<WhichToken>,
}

/// Which join tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhichToken {
    /// Joins agents, cannot make a server.
    Agent,
    /// Joins servers; whoever has it is cluster admin.
    Server,
    /// Server tokens that were replaced, each with the time until when it was in use: for snapshots from before.
    FormerServer,
}

/// Remove the cluster from its hosts, and nothing of anybody else's.
///
/// Stops the autoscaler, then removes daemons with their VMs, routes and marks, by what was recorded and by what is
/// found on the hosts. Slicer itself stays. The tokens are archived. Run it again after a kill or when a host that
/// was off is back; `init` makes the cluster anew.
#[derive(Clone, Debug, Args)]
pub struct Destroy {
    /// Do not ask for the cluster's name
    #[arg(long, short)]
    pub yes: bool,

    /// Keep a last snapshot of etcd on this workstation
    #[arg(long)]
    pub snapshot: bool,
}

/// Replace a join token everywhere, and see that the old one is refused.
///
/// The new token is recorded first. Servers are restarted in turn, each when the one before votes again; daemons, the
/// autoscaler and the workers get the new token, and a new worker joins with it. Run it again after a kill: it goes on.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct RotateToken {
    /// The servers' token, which makes admins and opens snapshots, instead of the agents'
    #[arg(long, conflicts_with = "slicer")]
    pub server: bool,

    /// Slicer's API token of this host instead: its daemons restart, which ends their workers and reboots their servers
    #[arg(long, value_name = "HOST")]
    pub slicer: Option<String>,

    /// Allow the restart of daemons that have VMs
    #[arg(long, requires = "slicer")]
    pub allow_outage: bool,

    /// Drain and remove the agents that are there, for a running agent stays whatever its token is; the autoscaler makes
    /// others
    #[arg(long, conflicts_with_all = ["server", "slicer"])]
    pub replace_agents: bool,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,

    /// Do not prove at the end that a new worker joins
    #[arg(long)]
    pub skip_proof: bool,
}

/// Rebuild a lost cluster.toml and the cluster's state from its hosts.
///
/// For a cluster that slicer-k3s made, here or elsewhere, or that somebody made by hand. Reads marks, tokens and settings on
/// its machines and changes one thing there: a new SSH key is let into its servers, for the old one is lost. Without hosts it
/// goes by cluster.toml.
#[derive(Clone, Debug, Args)]
pub struct Import {
    /// All hosts of the cluster; where no name is given, it is the one that the host was enrolled by
    #[arg(value_name = "[NAME=]USER@ADDRESS")]
    pub targets: Vec<String>,
    /// The cluster's name, where the hosts belong to several
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// A file holding the password that sudo asks for on a host; once for each
    #[arg(long = "sudo-password-file", value_name = "NAME=FILE")]
    pub sudo_password_files: Vec<String>,

    /// Replace a cluster.toml and a state that are here; copies of both are kept as `*.before-import`
    #[arg(long)]
    pub force: bool,

    /// Do without hosts that belong to the cluster and were not named, or do not answer
    #[arg(long)]
    pub partial: bool,
}
