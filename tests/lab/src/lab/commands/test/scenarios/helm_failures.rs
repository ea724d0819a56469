//! Releases of the autoscaler's chart that fail, each cured by the next `init`: a version that was never published, values that
//! Kubernetes refuses, a Deployment that somebody scaled, and Helm killed at work.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_ONE, Trial};
use super::home::says;
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, items};
use crate::place::Place;

/// Kills the next Helm of a server that is installing or upgrading, shortly after it has begun.
const KILLER: &str = "systemd-run --quiet --unit=helm-killer sh -c 'for i in $(seq 1800); do \
     if pgrep -f \"^([^ ]*/)?helm (install|upgrade)\" >/dev/null; then sleep 0.4; \
     pkill -KILL -f \"^([^ ]*/)?helm (install|upgrade)\" && touch /run/helm-killed; exit; fi; sleep 0.1; done'";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("one", "helm", &[])?;
    never_published(&trial).context("a version that was never published")?;
    refused_values(&trial).context("values that Kubernetes refuses")?;
    scaled(&trial).context("a Deployment that was scaled by hand")?;
    killed(&trial).context("Helm is killed")
}

fn with(trial: &Trial, autoscaler: &str) -> Result<()> {
    CLUSTER_OF_ONE.write_with(trial, &format!("[autoscaler]\n{autoscaler}\n"))
}

/// The next run cures it, and nothing is left to change.
fn cured(trial: &Trial, command: &str) -> Result<()> {
    trial.me(command)?.expect(0)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0).map(drop)
}

fn never_published(trial: &Trial) -> Result<()> {
    with(trial, "chart-version = \"9.99.9\"")?;
    let done = trial.me(&format!("{INIT} --skip-proof"))?;
    says(&done, &[1], &["9.99.9", "chart-version", "not found in"])?;
    if done.took > Duration::from_mins(3) {
        bail!("it was waited for {:.0} s", done.took.as_secs_f64());
    }
    with(trial, "")?;
    cured(trial, UNPROVEN)
}

fn refused_values(trial: &Trial) -> Result<()> {
    with(
        trial,
        "values = { resources = { limits = { cpu = \"lots\" } } }",
    )?;
    // Nobody waits for five minutes here: the reason is there long before.
    let done = trial.me(&format!("timeout -s INT 60 {UNPROVEN}"))?;
    if done.status == 0 || !done.text().contains("quantities must match") {
        bail!(
            "exit code {}, and Helm's reason is not said:\n{}",
            done.status,
            done.text()
        );
    }
    with(trial, "")?;
    cured(trial, UNPROVEN)
}

fn scaled(trial: &Trial) -> Result<()> {
    let scale =
        "slicer-k3s kubectl scale -n kube-system deployment slicer-cluster-autoscaler --replicas 2";
    trial.me(scale)?.expect(0)?;
    with(trial, "args = { v = 3 }")?;
    cured(trial, UNPROVEN)?;
    let deployments = items(
        trial,
        "deployments -n kube-system -l app.kubernetes.io/instance=slicer-cluster-autoscaler",
    )?;
    match &*deployments {
        [deployment] if deployment["spec"]["replicas"] == 1 => Ok(()),
        other => bail!("not one autoscaler with one replica: {other:?}"),
    }
}

fn killed(trial: &Trial) -> Result<()> {
    let servers = ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"];
    for server in servers {
        trial.root(server, KILLER)?.expect(0)?;
    }
    with(trial, "args = { v = 2 }")?;
    cured(trial, UNPROVEN)?;
    let was = |server: &&str| Ok(trial.root(server, "test -e /run/helm-killed")?.status == 0);
    let killed: Result<Vec<bool>> = servers.iter().map(was).collect();
    if killed?.contains(&true) {
        Ok(())
    } else {
        bail!("no Helm was killed")
    }
}
