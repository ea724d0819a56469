//! One Slicer daemon for a host's servers and agents, where the licence allows one: what restarts it restarts both, agents can
//! leave without it, and nothing is left of either.

use anyhow::{Context as _, Result, bail};

use super::super::trial::Trial;
use super::farewell::LEFT;
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, healthy, pod_runs};
use crate::place::Place;

const FILE: &str = r#"name = "home"
[control-plane]
host = "n100"
[hosts.n100]
ssh = "alex@192.168.1.11"
share-daemon = true
workers = { max = 2 }
"#;

/// One pod that only an agent runs.
const POD: &str = "slicer-k3s kubectl create deployment web --image=docker.io/rancher/mirrored-pause:3.6 --replicas=0 && \
    slicer-k3s kubectl patch deployment web --patch '{\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"nodeSelector\":{\"k3sup.dev/node-type\":\"agent\"}}}}}'";

const RESTART: &str = "slicer-k3s init --yes --skip-proof --allow-outage";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up_as("one", "test-shared", "licence-daemons=1")?;
    trial.put_mine("cluster.toml", "0644", FILE)?;
    trial.me(INIT)?.expect(0)?;
    healthy(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0)?;
    let daemons = trial.root("n100", "pgrep -fc '^/usr/local/bin/slicer up'")?;
    if daemons.stdout.trim() != "1" {
        bail!("{} daemons run", daemons.stdout.trim());
    }
    trial.me(POD)?.expect(0)?;
    pod_runs(&trial, "web")?;
    restarts(&trial).context("a restart")?;
    trial
        .me("slicer-k3s rotate-token --yes --slicer n100 --allow-outage")?
        .expect(0)
        .context("a new token of Slicer's")?;
    pod_runs(&trial, "web")?;
    leave(&trial).context("agents leave")?;
    back(&trial).context("agents come back")?;
    trial.me("slicer-k3s destroy --yes")?.expect(0)?;
    let left = trial.root("n100", LEFT)?.expect(0)?.stdout;
    if !left.trim().is_empty() {
        bail!("left on n100:\n{left}");
    }
    Ok(())
}

/// Both costs are told, and the agents are drained first.
fn restarts(trial: &Trial) -> Result<()> {
    trial
        .me("sed -i 's/max = 2/max = 2, ram-gb = 3/' cluster.toml")?
        .expect(0)?;
    let refused = trial.me(UNPROVEN)?.expect(1)?.text();
    if !refused.contains("reboots 3 servers, and ends 1 agents") {
        bail!("what it costs is not told:\n{refused}");
    }
    let done = trial.me(RESTART)?.expect(0)?.text();
    if !done.contains("Drain k3s-agent-1") {
        bail!("its nodes were not drained:\n{done}");
    }
    pod_runs(trial, "web")
}

/// The servers notice nothing until somebody allows it.
fn leave(trial: &Trial) -> Result<()> {
    let boots = "slicer-k3s exec k3s-cp-1 -- uptime -s";
    let before = trial.me(boots)?.expect(0)?.stdout;
    trial
        .me("slicer-k3s remove-host n100 --agents --yes")?
        .expect(0)?;
    if trial.me(boots)?.expect(0)?.stdout != before {
        bail!("a server was rebooted");
    }
    healthy(trial)?;
    trial.me(UNPROVEN)?.expect(1)?;
    trial.me(RESTART)?.expect(0)?;
    let bridges = trial.root("n100", "ip -br link | grep -c '^brk3s'")?;
    if bridges.stdout.trim() != "1" {
        bail!("the agents' bridge is still there");
    }
    trial.me("slicer-k3s status")?.expect(0).map(drop)
}

/// As they were, with a pod that waited for them.
fn back(trial: &Trial) -> Result<()> {
    trial
        .me("sed -i 's/workers = false/workers = { max = 2 }/' cluster.toml")?
        .expect(0)?;
    trial.me(RESTART)?.expect(0)?;
    pod_runs(trial, "web")?;
    trial.me("slicer-k3s status")?.expect(0).map(drop)
}
