//! What a daemon's restart costs, and whether that was allowed: its agents' VMs end, its servers reboot.

pub(super) mod has_read;
pub(super) mod quorum;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::WritePermit;
use crate::plan::{Daemon, Role};
use crate::remote::Script;
use crate::slicer::Slicer;
use crate::steps::daemon;
use crate::steps::restart::has_read::Process;
use crate::steps::restart::quorum::RollingRestart;
use crate::world::World;

/// What a daemon reads only when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestartReason {
    /// Its host YAML is another.
    Configuration,
    /// Its host's API token is another.
    Token,
}

/// How many VMs each group has that the daemon serves.
pub(super) async fn vms(
    world: &World,
    daemon: &Daemon,
    slicer: Result<Slicer>,
) -> Result<Vec<(Role, usize)>> {
    let slicer = slicer?;
    let mut all = Vec::new();
    for group in world.plan.carried(daemon) {
        all.push((group.role, slicer.vms(&group.group).await?.len()));
    }
    Ok(all)
}

/// Refuses a restart that would cost something: asked once more right before it, for what has come up since the plan.
pub(super) async fn check_restart(
    world: &World,
    daemon: &Daemon,
    cause: RestartReason,
) -> Result<()> {
    let slicer = world.slicer(daemon).await;
    let vms = vms(world, daemon, slicer).await;
    check_restart_allowed(daemon, cause, vms)
}

/// The same of VMs that are known; `vms` are those of the daemon's groups, where they could be told.
fn check_restart_allowed(
    daemon: &Daemon,
    cause: RestartReason,
    vms: Result<Vec<(Role, usize)>>,
) -> Result<()> {
    match cost(vms) {
        Some(cost) => Err(refusal(daemon, cause, &cost)),
        None => Ok(()),
    }
}

/// What a restart costs the daemon's groups with these VMs; `None` where it costs nothing.
pub(super) fn cost(vms: Result<Vec<(Role, usize)>>) -> Option<String> {
    match vms {
        Ok(vms) => {
            let costly = vms.into_iter().filter(|(_, count)| *count > 0);
            let costs: Vec<String> = costs(costly).collect();
            (!costs.is_empty()).then(|| costs.join(", and "))
        }
        Err(failure) => Some(format!("it is unknown whether it has VMs: {failure}")),
    }
}

/// The refusal of a restart that costs something and was not allowed.
pub(super) fn refusal(daemon: &Daemon, cause: RestartReason, cost: &str) -> Failure {
    let (thing, command) = match cause {
        RestartReason::Configuration => ("changed configuration", "init".to_owned()),
        RestartReason::Token => (
            "new token",
            format!("rotate-token --slicer {}", daemon.host),
        ),
    };
    let before = match daemon.role {
        Role::Workers => "its nodes are drained first",
        Role::ControlPlane => "one host at a time, as etcd's quorum allows",
    };
    Failure::new(
        Code::Outage,
        format!(
            "{} on {} must restart to read its {thing}",
            daemon.unit(),
            daemon.host
        ),
    )
    .because(cost)
    .hint(format!("slicer-k3s {command} --allow-outage ({before})"))
}

fn costs(vms: impl Iterator<Item = (Role, usize)>) -> impl Iterator<Item = String> {
    vms.map(|(role, count)| match role {
        Role::Workers => format!("ends {count} agents; the autoscaler makes others"),
        Role::ControlPlane => format!("reboots {count} servers"),
    })
}

/// What a person started, only that person can stop where it is seen.
fn by_hand(daemon: &Daemon) -> Failure {
    let unit = daemon.unit();
    Failure::new(
        Code::SlicerApi,
        format!(
            "the daemon of {} on {} runs without its unit",
            daemon.group, daemon.host
        ),
    )
    .because("it was started by hand, and so can be restarted only by hand")
    .hint(format!(
        "on {}: stop it with Ctrl-C or kill, then sudo systemctl start {unit}; its VMs boot anew",
        daemon.host
    ))
    .permanent()
}

/// Restarts a daemon by this script, where that reboots servers in its turn and until they vote again.
pub(super) async fn restart(
    world: &World,
    permit: &WritePermit,
    daemon: &Daemon,
    turns: &RollingRestart,
    script: &Script,
) -> Result<()> {
    let host = world.host(&daemon.host)?;
    let turn = turns.take_for(world, daemon).await?;
    if daemon::running::by_hand(host, daemon).await? {
        return Err(by_hand(daemon));
    }
    host.must(permit, "restarting the daemon", script).await?;
    let Some(turn) = turn else {
        return Ok(());
    };
    turn.end(world, host, Process::Daemon(daemon)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn a_restart_that_costs_something_says_what() {
        let plan = plan();
        let workers = plan.workers().next().unwrap();
        assert!(
            check_restart_allowed(workers, RestartReason::Token, Ok(vec![(Role::Workers, 0)]))
                .is_ok()
        );
        let told = check_restart_allowed(
            workers,
            RestartReason::Configuration,
            Ok(vec![(Role::Workers, 1)]),
        )
        .unwrap_err();
        assert!(told.to_string().contains("ends 1 agents"), "{told}");
        let both = vec![(Role::ControlPlane, 3), (Role::Workers, 2)];
        let servers =
            check_restart_allowed(&plan.daemons[0], RestartReason::Token, Ok(both)).unwrap_err();
        assert!(
            servers
                .to_string()
                .contains("reboots 3 servers, and ends 2 agents"),
            "{servers}"
        );
    }
}
