//! cluster.toml changes under a running cluster: exactly the difference is applied, exactly what must roll does, and agents
//! are moved before a restart ends them.

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, groups, items};
use crate::place::Place;

/// Pods that any agent may run, and no server; each fills one.
const WEB: &str = r#"for name in first second; do cat <<END
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: $name}
spec:
  replicas: 0
  selector: {matchLabels: {app: $name}}
  template:
    metadata: {labels: {app: $name}}
    spec:
      nodeSelector: {k3sup.dev/node-type: agent}
      terminationGracePeriodSeconds: 0
      containers: [{name: p, image: "docker.io/rancher/mirrored-pause:3.6", resources: {requests: {cpu: 1200m}}}]
END
done | slicer-k3s kubectl apply -f -"#;

/// A budget that allows no eviction.
const BUDGET: &str =
    "slicer-k3s kubectl create poddisruptionbudget second --selector=app=second --min-available=1";

const RESTART: &str = "slicer-k3s init --yes --skip-proof --allow-outage";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-reconf", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    trial.me(WEB)?.expect(0)?;
    priorities(&trial).context("priorities")?;
    refused(&trial).context("a restart that was not allowed")?;
    restarts(&trial).context("a restart")?;
    given_up(&trial).context("a drain that does not get on")
}

/// Which group grows is the person's to say, and to say otherwise without a new pod of the autoscaler.
fn priorities(trial: &Trial) -> Result<()> {
    workers(trial, "ryzen", "priority = 10")?;
    trial
        .me("printf '[autoscaler]\\nexpander = \"priority\"\\n' >>cluster.toml")?
        .expect(0)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    grows(trial, "first", "k3s-agent-1")?;
    let before = autoscaler(trial)?;
    workers(trial, "pi5", "priority = 20")?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    grows(trial, "second", "k3s-agent-2")?;
    if autoscaler(trial)? != before {
        bail!("a changed priority made a new pod of the autoscaler");
    }
    Ok(())
}

/// Without permission the daemon serves on, and the autoscaler keeps its group.
fn refused(trial: &Trial) -> Result<()> {
    trial
        .me("sed -i 's/priority = 20/priority = 20, ram-gb = 3/' cluster.toml")?
        .expect(0)?;
    let written =
        "find /var/lib/slicer-k3s /etc/slicer-k3s -type f ! -name '*.img' -exec sha256sum {} +";
    let before = trial.root("pi5", written)?.expect(0)?.stdout;
    let look = trial
        .me("slicer-k3s init --dry-run --skip-proof")?
        .expect(3)?;
    if !look.text().contains("(needs --allow-outage)") {
        bail!("a look does not say what it takes:\n{}", look.text());
    }
    let done = trial.me(UNPROVEN)?.expect(1)?;
    for says in [
        "must restart to read its changed configuration",
        "--allow-outage",
    ] {
        if !done.text().contains(says) {
            bail!("it did not say `{says}`:\n{}", done.text());
        }
    }
    if trial.root("pi5", written)?.expect(0)?.stdout != before {
        bail!("something was written before it was refused");
    }
    let groups = groups(trial)?;
    if groups.lines().count() != 2 {
        bail!("the autoscaler lost a group:\n{groups}");
    }
    node_of(trial, "second", "k3s-agent-2").map(drop)
}

/// The pod moves, the agent comes back with its new size, and its old Node is gone.
fn restarts(trial: &Trial) -> Result<()> {
    let before = node_of(trial, "second", "k3s-agent-2")?;
    let done = trial.me(RESTART)?.expect(0)?;
    if !done.text().contains("Drain k3s-agent-2") {
        bail!("its nodes were not drained:\n{}", done.text());
    }
    grows(trial, "second", "k3s-agent-2")?;
    let nodes = items(trial, "nodes -l slicer/hostgroup=k3s-agent-2")?;
    let [node] = nodes.as_slice() else {
        bail!("{} Nodes instead of one", nodes.len());
    };
    let memory = node["status"]["capacity"]["memory"]
        .as_str()
        .unwrap_or_default();
    let kib: u64 = memory.trim_end_matches("Ki").parse().unwrap_or(0);
    if node["metadata"]["name"] == before.as_str() || kib > 3 * 1024 * 1024 {
        bail!("{} has {memory}", node["metadata"]["name"]);
    }
    changes_nothing(trial, ("workstation", "me"), RESTART, UNHURRIED)
}

/// Stopped while a budget holds it up, and taken back: nodes take pods again, the autoscaler runs.
fn given_up(trial: &Trial) -> Result<()> {
    trial.me(BUDGET)?.expect(0)?;
    trial
        .me("sed -i 's/ram-gb = 3/ram-gb = 4/' cluster.toml")?
        .expect(0)?;
    let stopped = trial.me(&format!("timeout -s INT 25 {RESTART}"))?;
    if !stopped.text().contains("disruption budget") {
        bail!("it did not say what holds it up:\n{}", stopped.text());
    }
    let node = node_of(trial, "second", "k3s-agent-2")?;
    if !closed(trial, &node)? {
        bail!("{node} was not drained");
    }
    trial
        .me("sed -i 's/ram-gb = 4/ram-gb = 3/' cluster.toml")?
        .expect(0)?;
    trial.me(UNPROVEN)?.expect(0)?;
    if closed(trial, &node)? || node_of(trial, "second", "k3s-agent-2")? != node {
        bail!("{node} is still closed, or its pod moved");
    }
    autoscaler(trial).map(drop)
}

/// Gives the workers of a host a section with these keys.
fn workers(trial: &Trial, host: &str, keys: &str) -> Result<()> {
    let script = format!("sed -i '/^.hosts.{host}.$/a workers = {{ {keys} }}' cluster.toml");
    trial.me(&script)?.expect(0).map(drop)
}

/// One pod of a Deployment runs on an agent of this group.
fn grows(trial: &Trial, name: &str, group: &str) -> Result<()> {
    let scale = format!(
        "slicer-k3s kubectl scale deployment/{name} --replicas=1 && \
         slicer-k3s kubectl rollout status deployment/{name} --timeout=240s"
    );
    trial.me(&scale)?.expect(0)?;
    node_of(trial, name, group).map(drop)
}

/// The Node that runs the Deployment's pod: one of this group.
fn node_of(trial: &Trial, name: &str, group: &str) -> Result<String> {
    let pods = items(trial, &format!("pods -l app={name}"))?;
    let running = pods.iter().find(|pod| pod["status"]["phase"] == "Running");
    let node = running.and_then(|pod| pod["spec"]["nodeName"].as_str());
    match node {
        Some(node) if node.starts_with(&format!("{group}-")) => Ok(node.to_owned()),
        other => bail!("{name} runs on {other:?}, not on {group}"),
    }
}

fn closed(trial: &Trial, node: &str) -> Result<bool> {
    let script =
        format!("slicer-k3s kubectl get node {node} -o jsonpath='{{.spec.unschedulable}}'");
    Ok(trial.me(&script)?.expect(0)?.stdout.trim() == "true")
}

/// The autoscaler's one pod.
fn autoscaler(trial: &Trial) -> Result<String> {
    let pods = items(
        trial,
        "pods -n kube-system -l app.kubernetes.io/instance=slicer-cluster-autoscaler",
    )?;
    match pods.as_slice() {
        [pod] if pod["status"]["phase"] == "Running" => Ok(pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned()),
        pods => bail!(
            "{} pods of the autoscaler, or one that does not run",
            pods.len()
        ),
    }
}
