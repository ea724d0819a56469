//! k3s's packaged components on, as they are by default, with and without a taint on the servers: a proof is about its own pod, and
//! no component keeps an agent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::trial::{CLUSTER_OF_ONE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, WEB, agents, changes_nothing, items, pod_runs};
use crate::place::Place;
use crate::say;

/// The Deployments that k3s packages, Traefik's being made by a chart.
const PACKAGED: [&str; 4] = [
    "coredns",
    "local-path-provisioner",
    "metrics-server",
    "traefik",
];

/// 30 s after the last addition, 30 s unneeded, and the loops of a busy machine.
const GONE: Duration = Duration::from_mins(4);

/// An agent that ran Traefik's install job: the autoscaler looks at it again after five minutes.
const GONE_LATER: Duration = Duration::from_mins(9);

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    for taint in [true, false] {
        say::line(format_args!("  taint = {taint}"));
        let trial = Trial::up("one", "test-addons", &[])?;
        CLUSTER_OF_ONE.write(&trial)?;
        let toml = format!("sed -i 's/^.control-plane.$/&\\ntaint = {taint}/' cluster.toml");
        trial.me(&toml)?.expect(0)?;
        once(&trial, taint).with_context(|| format!("taint = {taint}"))?;
        if !taint {
            taken_back(&trial).context("addons-on-servers = false")?;
        }
    }
    Ok(())
}

fn once(trial: &Trial, taint: bool) -> Result<()> {
    let done = trial.me(INIT)?.expect(0)?;
    say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
    if done.text().contains(" stays, ") {
        bail!("the proof did not see its agent go:\n{}", done.text());
    }
    no_agents(trial, if taint { GONE_LATER } else { GONE })?;
    on_servers(trial)?;

    // An empty agent is where a scheduler likes to put things.
    trial.me(WEB)?.expect(0)?;
    pod_runs(trial, "web")?;
    for deployment in PACKAGED {
        let again = format!(
            "slicer-k3s kubectl rollout restart -n kube-system deployment {deployment} && \
             slicer-k3s kubectl rollout status -n kube-system deployment {deployment} --timeout 90s"
        );
        trial.me(&again)?.expect(0)?;
    }
    on_servers(trial).context("restarted beside an agent")?;
    trial
        .me("slicer-k3s kubectl delete deployment web --now")?
        .expect(0)?;
    no_agents(trial, GONE)?;
    // k3s applies its manifests again when it starts.
    trial.root("k3s-cp-1", "systemctl restart k3s")?.expect(0)?;
    std::thread::sleep(Duration::from_secs(20));
    on_servers(trial).context("after a restart of k3s")?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

/// Every packaged Deployment has a pod that runs, and none elsewhere.
fn on_servers(trial: &Trial) -> Result<()> {
    let pods = items(trial, "pods -n kube-system")?;
    for deployment in PACKAGED {
        let prefix = format!("{deployment}-");
        let own = |pod: &&Value| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            name.starts_with(&prefix) && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let mut nodes = pods
            .iter()
            .filter(own)
            .map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or("no Node"))
            .peekable();
        if nodes.peek().is_none() {
            bail!("{deployment} has no pod");
        }
        if let Some(node) = nodes.find(|node| !node.starts_with("k3s-cp-")) {
            bail!("a pod of {deployment} is on {node}");
        }
    }
    Ok(())
}

/// Waits until no agent is left, neither VM nor Node.
fn no_agents(trial: &Trial, limit: Duration) -> Result<()> {
    let begin = Instant::now();
    loop {
        // On a machine that is busy with other things an API server may be gone for a moment.
        if agents(trial)? == 0 && items(trial, "nodes").is_ok_and(|nodes| nodes.len() == 3) {
            let seconds = begin.elapsed().as_secs_f64();
            say::line(format_args!("  no agents after {seconds:.0} s"));
            return Ok(());
        }
        if begin.elapsed() > limit {
            bail!(
                "after {} s there are still {:?}",
                limit.as_secs(),
                trial.vms()?
            );
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// Without the key they may run anywhere again, as k3s itself has them.
fn taken_back(trial: &Trial) -> Result<()> {
    CLUSTER_OF_ONE.write_with(trial, "[k3s]\naddons-on-servers = false\n")?;
    trial.me(UNPROVEN)?.expect(0)?;
    for deployment in items(trial, "deployments -n kube-system")? {
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        let selector = &deployment["spec"]["template"]["spec"]["nodeSelector"];
        let os = selector["kubernetes.io/os"] == "linux" || name == "traefik";
        let server = selector.get("node-role.kubernetes.io/control-plane");
        if PACKAGED[..3].contains(&name) && (server.is_some() || !os) {
            bail!("{name} has the nodeSelector {selector}");
        }
    }
    if !items(trial, "helmchartconfigs -n kube-system")?.is_empty() {
        bail!("the HelmChartConfig of traefik is still there");
    }
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}
