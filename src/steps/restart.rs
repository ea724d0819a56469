//! What a daemon's restart costs, and whether that was allowed: its agents' VMs end, its servers reboot.

use super::daemon_config::host_yaml;
use super::daemon_running;
use super::quorum::Turns;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::Hands;
use crate::plan::{Daemon, Role};
use crate::remote::Script;
use crate::slicer::Vm;
use crate::world::World;

/// What a daemon reads only when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its host YAML is another.
    Configuration,
    /// Its host's API token is another.
    Token,
}

/// Refuses a restart that would cost something; `vms` are the group's, where they could be told.
pub(super) fn permitted(daemon: &Daemon, cause: Cause, vms: Result<Vec<Vm>>) -> Result<()> {
    let cost = match (vms, daemon.role) {
        (Ok(vms), _) if vms.is_empty() => return Ok(()),
        (Ok(vms), Role::Workers) => {
            format!(
                "that ends {} agents; the autoscaler makes others",
                vms.len()
            )
        }
        (Ok(vms), Role::ControlPlane) => format!("that reboots {} servers", vms.len()),
        (Err(failure), _) => format!("it is unknown whether it has VMs: {failure}"),
    };
    let (thing, command) = match cause {
        Cause::Configuration => ("changed configuration", "init".to_owned()),
        Cause::Token => (
            "new token",
            format!("rotate-token --slicer {}", daemon.host),
        ),
    };
    let before = match daemon.role {
        Role::Workers => "its nodes are drained first",
        Role::ControlPlane => "one host at a time, as etcd's quorum allows",
    };
    Err(Failure::new(
        Code::PlanConflict,
        format!(
            "{} on {} must restart to read its {thing}",
            daemon.unit(),
            daemon.host
        ),
    )
    .because(cost)
    .hint(format!("slicer-k3s {command} --allow-outage ({before})")))
}

/// What a person started, only that person can stop where it is seen.
fn by_hand(daemon: &Daemon) -> Failure {
    let unit = daemon.unit();
    Failure::new(
        Code::PlanConflict,
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
}

/// Restarts a daemon by this script, where that reboots servers in its turn and until they vote again.
pub(super) async fn restart(
    world: &World,
    hands: &Hands,
    daemon: &Daemon,
    turns: &Turns,
    script: &Script,
) -> Result<()> {
    let host = world.host(&daemon.host)?;
    let turn = turns.take_for(world, daemon).await?;
    if daemon_running::by_hand(host, daemon).await? {
        return Err(by_hand(daemon));
    }
    host.must(hands, "restarting the daemon", script).await?;
    let Some(turn) = turn else {
        return Ok(());
    };
    let yaml = match daemon.adopted {
        // What its process has read is not told by a person's unit.
        Some(_) => None,
        None => Some(host_yaml(world, daemon)?.content),
    };
    turn.end(world, host, &daemon.unit(), yaml.as_deref()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::plan;

    #[test]
    fn a_restart_that_costs_something_says_what() {
        let plan = plan();
        let one = || {
            Ok(vec![
                serde_json::from_str::<Vm>(r#"{"hostname":"a-1"}"#).unwrap(),
            ])
        };
        let workers = plan.workers().next().unwrap();
        assert!(permitted(workers, Cause::Token, Ok(Vec::new())).is_ok());
        let told = permitted(workers, Cause::Configuration, one()).unwrap_err();
        assert!(told.to_string().contains("ends 1 agents"), "{told}");
        let servers = permitted(&plan.daemons[0], Cause::Token, one()).unwrap_err();
        assert!(
            servers.to_string().contains("reboots 1 servers"),
            "{servers}"
        );
    }
}
