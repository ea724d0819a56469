//! What each command runs: the table of contents of the steps, a file a command.

mod add_host;
mod destroy;
mod init;
mod remove_host;
mod rotate_token;

pub use add_host::add_hosts;
pub use destroy::destroy;
pub use init::{init, only};
pub use remove_host::{Leaving, leave};
pub use rotate_token::rotate;

use super::host::routes::Routes;
use super::{AnyStep, Proof, proof};
use crate::plan::Plan;

/// The routes alone.
pub fn routes(plan: &Plan) -> Vec<AnyStep> {
    let hosts = plan.hosts.iter();
    hosts
        .map(|host| Box::new(Routes::new(host)) as AnyStep)
        .collect()
}

/// The proof of scaling alone, of the named groups or of all; `local_data`: data on VMs that are deleted may go with them.
pub fn prove(plan: &Plan, groups: &[String], proof: Proof, local_data: bool) -> Vec<AnyStep> {
    plan.workers()
        .filter(|daemon| groups.is_empty() || groups.contains(&daemon.group))
        .flat_map(|daemon| proof::steps(plan, daemon, Some(proof), &[], local_data))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
