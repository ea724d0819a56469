//! `add-host` and `remove-host`, as arguments.

use clap::Args;

use super::{ApplyArgs, Consent, examples};

/// The heading of flags that end up in cluster.toml.
const SAID: &str = "Written to cluster.toml, for every host named";

/// Enrol more hosts as workers: looks, proposes, edits cluster.toml in place.
///
/// Looks at the machines, proposes VM size, most VMs, network, port and names that clash with nothing on any host, asks
/// once, and takes the steps of `init` that touch the new hosts or must learn of them. Killed or failed, the same
/// command goes on from there. Editing cluster.toml and running `init` does the same.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::ADD_HOST)]
pub struct AddHost {
    /// Its name; with how to reach it where `--ssh` does not say, or several are added
    #[arg(required = true, value_name = "NAME[=USER@ADDRESS[:PORT]]")]
    pub hosts: Vec<String>,

    /// How to reach it: `[user@]address[:port]`, an alias of your SSH configuration, or `local`
    #[arg(long, value_name = "USER@ADDRESS[:PORT]")]
    pub ssh: Option<String>,

    /// What is allowed and what is left out.
    #[command(flatten)]
    pub making: ApplyArgs,

    /// Its SSH port
    #[arg(long, help_heading = SAID)]
    pub port: Option<u16>,

    /// The private key to log in with
    #[arg(long, value_name = "FILE", help_heading = SAID)]
    pub key_file: Option<String>,

    /// The machines to go through, separated by commas
    #[arg(long, value_name = "USER@ADDRESS", help_heading = SAID)]
    pub jump: Option<String>,

    /// The fingerprint of its SSH host key
    #[arg(long, value_name = "SHA256:…", help_heading = SAID)]
    pub host_key: Option<String>,

    /// A file holding the password that sudo asks for
    #[arg(long, value_name = "FILE", help_heading = SAID)]
    pub sudo_password_file: Option<String>,

    /// The address by which the other hosts reach it
    #[arg(long, value_name = "ADDRESS", help_heading = SAID)]
    pub lan_address: Option<String>,

    /// Slicer's licence on that host
    #[arg(long, value_name = "PATH", help_heading = SAID)]
    pub licence_file: Option<String>,

    /// vCPUs of an agent
    #[arg(long, help_heading = SAID)]
    pub cpu: Option<u32>,

    /// RAM of an agent, GiB
    #[arg(long, help_heading = SAID)]
    pub ram_gb: Option<u32>,

    /// Disk of an agent, GB
    #[arg(long, help_heading = SAID)]
    pub storage_gb: Option<u32>,

    /// Fewest agents
    #[arg(long, help_heading = SAID)]
    pub min: Option<u32>,

    /// Most agents
    #[arg(long, help_heading = SAID)]
    pub max: Option<u32>,

    /// Name of its host group
    #[arg(long, help_heading = SAID)]
    pub group: Option<String>,

    /// The agents' network
    #[arg(long, help_heading = SAID)]
    pub cidr: Option<String>,

    /// Port of its Slicer API
    #[arg(long, help_heading = SAID)]
    pub api_port: Option<u16>,

    /// Prefix of its VMs' tap interfaces
    #[arg(long, help_heading = SAID)]
    pub tap_prefix: Option<String>,
}

/// Take a host's workers away: drains, removes, edits cluster.toml in place.
///
/// Tells the autoscaler first, drains the host's nodes, then removes them with their VMs, daemon and routes, here and on
/// all other hosts, and takes the host out of cluster.toml. Killed or failed, the same command goes on from there.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::REMOVE_HOST)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of the person's own"
)]
pub struct RemoveHost {
    /// Its name in cluster.toml
    pub name: String,

    /// Whether it is agreed to.
    #[command(flatten)]
    pub consent: Consent,

    /// Delete pods that a disruption budget protects or that nobody makes again
    #[arg(long)]
    pub force: bool,

    /// The machine is dead: nothing is done on it, and the agents' join token, which it holds, is replaced
    #[arg(long, conflicts_with = "force")]
    pub gone: bool,

    /// Take only the agents of a host that also runs servers; the host stays
    #[arg(long, conflicts_with = "gone")]
    pub agents: bool,

    /// With --gone: leave the join token as it is
    #[arg(long, requires = "gone")]
    pub keep_token: bool,

    /// Go on where claims have their data on the disks of its agents: that data is lost
    #[arg(long)]
    pub delete_local_data: bool,

    /// How long the drain may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub drain_limit: u64,
}
