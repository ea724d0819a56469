//! A new join token taken into use everywhere: on the servers in turn, on every daemon, on the workers that still hold the
//! old one; or a new Slicer token of a host. The steps are `init`'s own, which go by the secrets as they are recorded; what
//! is special is the [order](parts::order), and that the old token is refused in the end. That servers restart one at a time is
//! `quorum`'s.

pub(crate) mod agent_token_saved;
pub(crate) mod agents_replaced;
pub(crate) mod begun;
pub(crate) mod daemon_token;
pub(crate) mod host_token;
pub(crate) mod old_token_refused;
pub(crate) mod parts;
pub(crate) mod server_token;
pub(crate) mod servers_whole;
pub(crate) mod worker_token;

use std::time::Duration;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Phase, Step};
use crate::plan::Plan;
use crate::question::limited;
use crate::state::Secrets;
use crate::world::World;
pub(crate) use parts::order::Order;

/// Which of the tokens that are on record as retired a run replaces: what another run was allowed is not allowed to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The join tokens.
    Join,
    /// Slicer's token of this host.
    Slicer(&'a str),
}

/// Refuses to replace a token by a plan that lacks hosts: what is there would keep the old one, and no one would know.
pub fn is_complete(plan: &Plan) -> Result<()> {
    let server = plan
        .servers
        .iter()
        .find(|server| plan.host(&server.host).is_none());
    let absent = plan.absent.first().map(|(host, _)| host);
    let Some(host) = absent.or_else(|| server.map(|server| &server.host)) else {
        return Ok(());
    };
    Err(Failure::new(
        Code::SshUnreachable,
        format!("{host} was off when the cluster was planned last, and would keep the old token"),
    )
    .because("a token is replaced on all hosts")
    .hint(format!(
        "switch {host} on and run slicer-k3s init; where it is gone for good, slicer-k3s remove-host {host} --gone replaces the agents' token, too"
    )))
}

/// Why a rotation of join tokens may not begin now: not every server is Ready and votes. `None` where it may.
pub async fn hindrance(world: &World) -> Option<String> {
    let check = servers_whole::ServersWhole::at_first();
    match limited(ANSWER, check.check(world, Phase::Before)).await {
        Ok(Ok(Finding::Done(_))) => None,
        Ok(Ok(Finding::Differs(why) | Finding::Unknown(why))) => Some(why),
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(_) => Some(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

/// How long the servers may take to say that they are well.
const ANSWER: Duration = Duration::from_secs(20);

/// Whether a run of `init` that succeeded has ended the rotation of join tokens that was under way: it has where it reached
/// every host, and where no agents are to be replaced, which it does not do.
pub fn is_over(plan: &Plan, secrets: &Secrets) -> bool {
    let retired = &secrets.retired;
    retired.has_join_tokens() && !retired.replace_agents && is_complete(plan).is_ok()
}

#[cfg(test)]
mod tests;
