//! Agents that joined by the old token are drained and removed where that is asked for; others take their pods.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::super::home::{Home, THREE};
use super::super::{UNHURRIED, UNPROVEN, changes_nothing, items, pod_runs};
use super::agent_at_work::AgentAtWork;
use super::rotation::{self, Kind, Rotation};
use super::slicer::one_autoscaler;
use crate::place::Place;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let home = Home::found(&THREE, "replace")?;
    let trial = &home.trial;
    let before = AgentAtWork::made(trial)?;
    // One that is kept beside it is no agent of before either.
    trial
        .me("slicer-k3s kubectl scale deployment/sleep --replicas=4")?
        .expect(0)?;
    trial
        .me("slicer-k3s kubectl rollout status deployment/sleep --timeout=240s")?
        .expect(0)?;
    let old = agents(&home)?;

    let rotation = Rotation::of(trial, Kind::Agent)?;
    let command = format!("{} --replace-agents", Kind::Agent.unproven());
    let done = rotation::run(&home, &command)?;
    if !done.text().contains("Drain k3s-agent") {
        bail!("no agent was drained:\n{}", done.text());
    }
    let boots = agents(&home)?;
    let left: Vec<_> = boots.intersection(&old).collect();
    if !left.is_empty() {
        bail!("agents of before are left: {left:?}");
    }
    one_autoscaler(trial)?;
    trial
        .me("slicer-k3s kubectl scale deployment/sleep --replicas=1")?
        .expect(0)?;
    trial
        .me("slicer-k3s kubectl rollout status deployment/sleep --timeout=240s")?
        .expect(0)?;
    pod_runs(trial, "sleep")?;
    rotation.holds(&home, None, 1)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    let now = agents(&home)?;
    if now.intersection(&old).next().is_some() {
        bail!("an agent of before came back: {now:?}");
    }
    // Not by its name, which a new VM may have again.
    let pods = items(
        trial,
        "pods -l app=sleep --field-selector=status.phase=Running",
    )?;
    if pods.is_empty() {
        bail!("the pod of {before:?} runs nowhere");
    }
    Ok(())
}

/// Every agent's VM, as its name and the moment of its boot.
fn agents(home: &Home) -> Result<BTreeSet<(String, String)>> {
    let mut agents = BTreeSet::new();
    for vm in home.trial.vms()? {
        if !vm.starts_with("k3s-cp") {
            let boot = home.trial.root(&vm, "stat -c %Y /proc/1");
            let boot = boot.with_context(|| format!("{vm} went away"))?.stdout;
            agents.insert((vm, boot.trim().to_owned()));
        }
    }
    Ok(agents)
}
