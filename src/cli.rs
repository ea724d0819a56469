//! The command line; doc comments are the help text.

mod consent;
mod examples;
mod hosts;
mod routes;
#[cfg(test)]
mod tests;
mod vm;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use consent::Consent;
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
    #[arg(long, global = true, help_heading = EVERY, hide_short_help = true, value_enum, default_value_t = Output::Human)]
    pub output: Output,

    /// Trust host keys that no known_hosts file has, and remember them
    #[arg(
        long,
        global = true,
        help_heading = EVERY,
        hide_short_help = true,
        env = "SLICER_K3S_ACCEPT_NEW_HOST_KEYS",
        value_parser = FalseyValueParser::new()
    )]
    pub accept_new_host_keys: bool,

    /// Tell where the time went, by step, when a command that acts is done
    #[arg(long, global = true, help_heading = EVERY, hide_short_help = true)]
    pub timings: bool,

    /// Tell which commands change machines; twice: every look and request as well
    #[arg(long, short, global = true, help_heading = EVERY, hide_short_help = true, action = clap::ArgAction::Count)]
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
#[expect(
    missing_docs,
    reason = "a variant's comment would take the place of its arguments' comment in the help, all paragraphs of it"
)]
pub enum Command {
    Init(Init),
    AddHost(Box<AddHost>),
    RemoveHost(RemoveHost),
    Prove(Prove),
    Generate(Generate),
    Kubectl(Kubectl),
    Exec(Exec),
    Shell(Shell),
    Logs(Logs),
    Status(Status),
    Routes(Routes),
    Token(Token),
    Explain(Explain),
    RotateToken(RotateToken),
    Import(Import),
    Destroy(Destroy),
    /// Print a shell's completion script
    ///
    /// The script goes to stdout; the shell reads it from the file that the examples name, when it starts next.
    #[command(after_help = examples::COMPLETIONS)]
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
#[command(after_help = examples::INIT)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Init {
    /// What is allowed and what is left out.
    #[command(flatten)]
    pub making: ApplyArgs,

    /// Merge the kubeconfig into yours ($KUBECONFIG or ~/.kube/config)
    #[arg(long)]
    pub merge: bool,

    /// The context's name when merging
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Install this workstation's route to the control plane (needs sudo)
    #[arg(long)]
    pub workstation_route: bool,

    /// Allow restarts that end workers, reboot servers, stop the only server or lose etcd's quorum; the plan names them
    #[arg(long)]
    pub allow_outage: bool,

    /// Go on where claims have their data on the disks of agents that end: that data is lost
    #[arg(long)]
    pub delete_local_data: bool,

    /// Give up what this server holds where servers hold two clusters: its data is moved aside, and it joins the others
    #[arg(long, value_name = "SERVER", value_delimiter = ',', help_heading = LOST)]
    pub give_up: Vec<String>,

    /// Found a new, empty cluster in the place of this one; what the servers hold is moved aside
    #[arg(long, value_name = "NAME", conflicts_with = "give_up", help_heading = LOST)]
    pub force_new_cluster: Option<String>,

    /// A host (or `NAME=local` for this machine); once for each
    #[arg(long = "host", value_name = "NAME=USER@ADDRESS[:PORT]", help_heading = NEW)]
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
// Of no command that removes something.
#[command(mut_arg("yes", |yes| yes.env("SLICER_K3S_YES").value_parser(FalseyValueParser::new())))]
pub struct ApplyArgs {
    /// Whether it is agreed to.
    #[command(flatten)]
    pub consent: Consent,

    /// Install Slicer where it is missing
    #[arg(long)]
    pub install_slicer: bool,

    /// You have read and accept Slicer's licence (EULA); needed by --install-slicer
    #[arg(
        long,
        env = "SLICER_K3S_ACCEPT_SLICER_LICENCE",
        value_parser = FalseyValueParser::new()
    )]
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
#[command(after_help = examples::GENERATE)]
pub struct Generate {
    /// The directory; files that slicer-k3s did not write there are never overwritten
    #[arg(long, value_name = "DIR", default_value = "generated")]
    pub out: PathBuf,
}

/// Prove again that groups scale up and down.
///
/// For each group a pod is started that only a new agent can run, then deleted, and the agent must disappear again, which takes
/// about six minutes. Asks first: agents come and go, and take CPU and RAM. Nothing else in the cluster is touched.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::PROVE)]
pub struct Prove {
    /// Whether it is agreed to.
    #[command(flatten)]
    pub consent: Consent,

    /// Groups to prove; all where none is named
    pub groups: Vec<String>,

    /// Pods to start in each group; each takes a VM of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pods: u32,
}

/// Run kubectl on the cluster; no route and no kubectl needed.
///
/// Connects to the first host of the control plane that answers. Your own kubectl is used through a tunnel; if there is none, the
/// server's is used over SSH, and files given by -f travel there. kubectl's exit code is passed on; 125 if it could not be run.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::KUBECTL)]
pub struct Kubectl {
    /// kubectl's own arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// Explain an error code or a step: what it means, what causes it, what to do.
///
/// Prints the section of docs/troubleshooting.md; without a name, the list of all codes and steps.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::EXPLAIN)]
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
#[command(after_help = examples::STATUS)]
pub struct Status {
    /// Look again and again until interrupted
    #[arg(long, short)]
    pub watch: bool,

    /// Seconds between two looks of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
}

/// Tell where the join tokens are.
///
/// Prints the places on this workstation and on the servers; the tokens themselves only with --reveal.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::TOKEN)]
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
#[command(after_help = examples::DESTROY)]
pub struct Destroy {
    /// Whether it is agreed to; without `--yes` the cluster's name has to be typed.
    #[command(flatten)]
    pub consent: Consent,

    /// Keep a last snapshot of etcd on this workstation
    #[arg(long)]
    pub snapshot: bool,
}

/// Replace a join token everywhere, and see that the old one is refused.
///
/// The new token is recorded first. Servers are restarted in turn, each when the one before votes again; daemons, the
/// autoscaler and the workers get the new token, and a new worker joins with it. Run it again after a kill: it goes on.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::ROTATE_TOKEN)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct RotateToken {
    /// Whether it is agreed to.
    #[command(flatten)]
    pub consent: Consent,

    /// The servers' token, which makes admins and opens snapshots, instead of the agents'
    #[arg(long, conflicts_with = "slicer")]
    pub server: bool,

    /// Slicer's API token of this host instead: its daemons restart, which ends their workers and reboots their servers
    #[arg(long, value_name = "HOST")]
    pub slicer: Option<String>,

    /// Allow the restart of daemons that have VMs: their agents end, their servers reboot
    #[arg(long, requires = "slicer")]
    pub allow_outage: bool,

    /// Go on where claims have their data on the disks of agents that end: that data is lost
    #[arg(long)]
    pub delete_local_data: bool,

    /// Go on though Slicer daemons of others on that host use the same token: they must be restarted, too, by whoever runs them
    #[arg(long, requires = "slicer")]
    pub also_others: bool,

    /// Drain and remove the agents that are there, for a running agent stays whatever its token is; the autoscaler makes
    /// others
    #[arg(long, conflicts_with_all = ["server", "slicer"])]
    pub replace_agents: bool,

    /// Do not prove at the end that a new worker joins
    #[arg(long)]
    pub skip_proof: bool,
}

/// Rebuild a lost cluster.toml and the cluster's state from its hosts, or adopt a cluster made by hand.
///
/// Of a cluster that slicer-k3s made, here or elsewhere, or of one that was made by hand after Slicer's manual, which it adopts.
/// Reads marks, tokens and settings on its machines and changes one thing there: a new SSH key is let into its servers, for the old
/// one is lost. Without hosts it goes by cluster.toml.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::IMPORT)]
pub struct Import {
    /// Whether it is agreed to.
    #[command(flatten)]
    pub consent: Consent,

    /// All hosts of the cluster; where no name is given, it is the one that the host was enrolled by
    #[arg(value_name = "[NAME=]USER@ADDRESS[:PORT]")]
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
