//! Agents that joined by the old token are drained and removed where that is asked for; others take their pods.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::super::super::trial::Trial;
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
    let (old, joined) = (agents(&home)?, nodes(trial)?);

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
    // Neither the VM nor the Node of before, by which an agent would be let in again; its name a new one may have.
    let after = AgentAtWork::now(trial)?;
    if after.shares_with(&before) {
        bail!("the pod runs on an agent of before: {before:?}, now {after:?}");
    }
    let (now, nodes) = (agents(&home)?, nodes(trial)?);
    if nodes.is_empty() || now.is_empty() {
        bail!("no agent has taken the place of those of before: {now:?}, {nodes:?}");
    }
    let left: Vec<_> = nodes.intersection(&joined).collect();
    if !left.is_empty() {
        bail!("Nodes of before are left: {left:?}");
    }
    forgotten_wish(&home)
}

/// The run that was asked to replace the agents is killed when every server has the new token, and `init` goes on: the agents
/// of before are still to be replaced, and by the command that `status` names.
fn forgotten_wish(home: &Home) -> Result<()> {
    let trial = &home.trial;
    let (old, joined) = (agents(home)?, nodes(trial)?);
    let replace = format!("{} --replace-agents", Kind::Agent.unproven());
    let script = format!(
        r#"cd; rm -f way said; mkfifo way
{replace} --output ndjson >way 2>said & pid=$!
left=3
while IFS= read -r line; do
  case $line in *'"type":"step-ended","step":"old-token-refused/'*)
    left=$((left-1)); [ $left -gt 0 ] || {{ kill -KILL $pid; break; }};;
  esac
done <way
wait $pid; echo "left $left"; tail -n 20 said"#
    );
    let killed = trial.me(&script)?;
    if !killed.stdout.contains("left 0\n") {
        bail!("it was not killed:\n{}", killed.text());
    }
    if agents(home)?.intersection(&old).next().is_none() {
        bail!("killed, and no agent of before is left: this tests nothing");
    }
    let init = trial.me(UNPROVEN)?.expect(0)?;
    if !init.text().contains("rotate-token --replace-agents") {
        bail!("init does not name the agents of before:\n{}", init.text());
    }
    // Without the flag: what the first run was asked for counts.
    trial.me(&Kind::Agent.unproven())?.expect(0)?;
    let left: Vec<_> = agents(home)?.intersection(&old).cloned().collect();
    let stay: Vec<_> = nodes(trial)?.intersection(&joined).cloned().collect();
    if !left.is_empty() || !stay.is_empty() {
        bail!("agents of before are left: {left:?}, {stay:?}");
    }
    one_autoscaler(trial)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

/// The Nodes of agents, each by what only it has.
fn nodes(trial: &Trial) -> Result<BTreeSet<String>> {
    let nodes = items(trial, "nodes -l slicer/hostgroup")?;
    Ok(nodes
        .iter()
        .map(|node| node["metadata"]["uid"].to_string())
        .collect())
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
