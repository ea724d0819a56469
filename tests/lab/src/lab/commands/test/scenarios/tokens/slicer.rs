//! Slicer's own token of a host: given by us, and taken behind our back. Its daemons restart, those of the servers, too.

use anyhow::{Result, bail};

use super::super::super::trial::Trial;
use super::super::home::{Home, ONE};
use super::super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, items, pod_runs};
use super::agent_at_work::AgentAtWork;
use crate::place::Place;
use crate::say;

/// A host that has all servers and an agent: its agents are drained before the servers, which that needs, reboot.
pub(super) fn run(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "slicer-token")?;
    let trial = &home.trial;
    AgentAtWork::made(trial)?;
    for _ in 0..2 {
        let old = token(trial, "n100")?;
        let rotate = "slicer-k3s rotate-token --slicer n100 --allow-outage --yes --skip-proof";
        let done = trial.me(rotate)?.expect(0)?;
        say::line(format_args!("  {:.0} s", done.took.as_secs_f64()));
        if token(trial, "n100")? == old {
            bail!("n100 has the old Slicer token");
        }
        one_autoscaler(trial)?;
        pod_runs(trial, "sleep")?;
        AgentAtWork::now(trial)?;
        home.stands()?;
    }
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

/// Fleet `three`: a host that has agents only, if any.
pub(super) fn of_an_agents_host(trial: &Trial) -> Result<()> {
    let old = token(trial, "pi5")?;
    let rotate = "slicer-k3s rotate-token --slicer pi5 --allow-outage --yes --skip-proof";
    trial.me(rotate)?.expect(0)?;
    if token(trial, "pi5")? == old {
        bail!("pi5 has the old Slicer token");
    }
    one_autoscaler(trial)?;
    trial.fault(&["token", "pi5", "rotated"])?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

fn token(trial: &Trial, host: &str) -> Result<String> {
    let done = trial.root(host, "cat /var/lib/slicer/auth/token")?;
    Ok(done.expect(0)?.stdout.trim().to_owned())
}

/// The autoscaler, which was stopped for the drain, is wanted again.
pub(super) fn one_autoscaler(trial: &Trial) -> Result<()> {
    let deployments = items(trial, "deployments -n kube-system")?;
    let wanted: Vec<_> = deployments
        .iter()
        .filter(|deployment| deployment["metadata"]["name"] == "slicer-cluster-autoscaler")
        .map(|deployment| {
            (
                &deployment["spec"]["replicas"],
                &deployment["status"]["readyReplicas"],
            )
        })
        .collect();
    if wanted.len() != 1 || *wanted[0].0 != 1 || *wanted[0].1 != 1 {
        bail!("not one autoscaler: {wanted:?}");
    }
    Ok(())
}
