//! `routes`: who needs which, as arguments.

use clap::{Args, Subcommand, ValueEnum};

use super::{Consent, examples};

/// Show who needs which route and why; keep them on the hosts; print them for other machines.
///
/// VMs' networks lie behind their hosts, so each host needs a route to the VMs of every other one; a workstation or a router
/// needs them only if it is to reach VMs itself.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::ROUTES)]
pub struct Routes {
    /// What to do; `show` where nothing is said
    #[command(subcommand)]
    pub action: Option<RoutesAction>,
}

/// What to do about routes.
#[derive(Clone, Debug, Subcommand)]
pub enum RoutesAction {
    /// Show every machine's routes, with reasons
    Show,
    /// Make every host have its routes, and keep them from then on
    Apply(Consent),
    /// Print the commands that set one machine's routes
    Print {
        /// `workstation`, `router` or a host of cluster.toml
        #[arg(long = "for", value_name = "MACHINE", default_value = "workstation")]
        machine: String,

        /// The machine's system; by default this one's, and Linux for a host
        #[arg(long, value_enum)]
        os: Option<System>,
    },
}

/// A system that routes are set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum System {
    /// `ip route`.
    Linux,
    /// `route`.
    Macos,
}
