//! Data on an agent's own disk: a host is not removed while a claim has data there, which is named; with the flag it goes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Done, Trial};
use super::{INIT, WEB, items, pod_runs};
use crate::place::Place;

const REMOVE: &str = "slicer-k3s remove-host ryzen --yes";

const FLAG: &str = "--delete-local-data";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "local-data", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    // One server is enough.
    trial
        .me(r"sed -i 's/^hosts = .*/&\nservers = 1/' cluster.toml")?
        .expect(0)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    let group = group_of(&trial, "ryzen")?;
    trial
        .me(&WEB.replace("k3s-agent-1", &group))?
        .expect(0)
        .context("a pod for an agent")?;
    pod_runs(&trial, "web")?;
    let node = agent(&trial, &group)?;
    trial.me(&precious(&node))?.expect(0)?;
    bound(&trial)?;

    let file = trial.me("cat cluster.toml")?.expect(0)?.stdout;
    let refused = trial.me(REMOVE)?.expect(1)?;
    for words in ["local-data", "default/precious", &node, FLAG] {
        says(&refused, words)?;
    }
    untouched(&trial, &node, &file)?;
    // A restart of its daemon ends the agent, too, and nothing says so but these two.
    for command in [
        "slicer-k3s rotate-token --slicer ryzen --allow-outage --yes",
        "sed -i '/hosts.ryzen\\]/a workers = { storage-gb = 30 }' cluster.toml && slicer-k3s init --yes --skip-proof --allow-outage",
    ] {
        let refused = trial.me(command)?.expect(1)?;
        says(&refused, "default/precious").context(command)?;
    }
    trial.put_mine("cluster.toml", "0644", &file)?;
    untouched(&trial, &node, &file)?;

    let asked = trial.me("slicer-k3s destroy </dev/null")?.expect(1)?;
    says(&asked, "default/precious")?;
    trial.me(&format!("{REMOVE} {FLAG}"))?.expect(0)?;
    let left = items(&trial, &format!("nodes -l slicer/hostgroup={group}"))?;
    if !left.is_empty() {
        bail!("{} Nodes of {group} are left", left.len());
    }
    Ok(())
}

/// The group that a host's agents are of.
fn group_of(trial: &Trial, host: &str) -> Result<String> {
    let done = trial
        .root(
            host,
            "ls /var/lib/slicer-k3s/home | grep -v '^k3s-cp' | head -n 1",
        )?
        .expect(0)?;
    let group = done.stdout.trim().to_owned();
    if group.is_empty() {
        bail!("{host} has no group of agents");
    }
    Ok(group)
}

/// The Node of a group's first agent.
fn agent(trial: &Trial, group: &str) -> Result<String> {
    let nodes = items(trial, &format!("nodes -l slicer/hostgroup={group}"))?;
    let name = nodes.first().map(|node| &node["metadata"]["name"]);
    let name = name.and_then(|name| name.as_str());
    Ok(name.context("the group has no Node")?.to_owned())
}

/// A volume as the local-path-provisioner makes it for a claim, which the lab's does not.
fn precious(node: &str) -> String {
    format!(
        r#"slicer-k3s kubectl apply -f - <<'END'
{{"apiVersion": "v1", "kind": "List", "items": [
  {{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {{"name": "pv"}}, "spec": {{
    "capacity": {{"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"], "storageClassName": "mine",
    "hostPath": {{"path": "/var/lib/precious"}},
    "nodeAffinity": {{"required": {{"nodeSelectorTerms": [{{"matchExpressions": [
      {{"key": "kubernetes.io/hostname", "operator": "In", "values": ["{node}"]}}]}}]}}}}}}}},
  {{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {{"name": "precious", "namespace": "default"}}, "spec": {{
    "accessModes": ["ReadWriteOnce"], "storageClassName": "mine", "volumeName": "pv",
    "resources": {{"requests": {{"storage": "1Gi"}}}}}}}}]}}
END"#
    )
}

/// Waits until the controller has bound the claim.
fn bound(trial: &Trial) -> Result<()> {
    let begin = Instant::now();
    loop {
        let volumes = items(trial, "pv")?;
        if volumes
            .iter()
            .any(|volume| volume["status"]["phase"] == "Bound")
        {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_mins(1) {
            bail!("the claim is not bound: {volumes:?}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A refusal comes before the first write: the agent runs, takes pods, and cluster.toml is as it was.
fn untouched(trial: &Trial, node: &str, file: &str) -> Result<()> {
    let nodes = items(trial, "nodes")?;
    let own = nodes
        .iter()
        .find(|it| it["metadata"]["name"] == node)
        .with_context(|| format!("{node} is gone"))?;
    if own["spec"]["unschedulable"] == true {
        bail!("{node} was closed");
    }
    pod_runs(trial, "web")?;
    let now = trial.me("cat cluster.toml")?.expect(0)?.stdout;
    if now != file {
        bail!("cluster.toml is another:\n{now}");
    }
    Ok(())
}

fn says(done: &Done, words: &str) -> Result<()> {
    if done.text().contains(words) {
        Ok(())
    } else {
        bail!("no word of {words}:\n{}", done.text())
    }
}
