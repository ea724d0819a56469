//! Tokens change under a running cluster: workers stay, new ones join, the old tokens are refused.

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing};
use crate::place::Place;

/// A pod that only a worker may run.
const SLEEP: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  replicas: 1
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec:
      nodeSelector: {k3sup.dev/node-type: agent}
      terminationGracePeriodSeconds: 0
      containers:
        - name: sleep
          image: docker.io/library/busybox:latest
          command: [sleep, infinity]
          imagePullPolicy: IfNotPresent
          resources: {requests: {cpu: "1", memory: 50Mi}}
"#;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-rotate", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    trial.put_mine("sleep.yaml", "0644", SLEEP)?;
    trial
        .me("slicer-k3s kubectl apply -f - <sleep.yaml && slicer-k3s kubectl rollout status deployment/sleep --timeout=240s")?
        .expect(0)?;
    let worker = worker(&trial)?;
    let (agent, server) = (password(&trial, "agent")?, password(&trial, "server")?);

    trial.me("timeout -s KILL 8 slicer-k3s rotate-token")?;
    let done = trial
        .me("slicer-k3s rotate-token --skip-proof")?
        .expect(0)?;
    if !done.text().contains("was begun before") {
        bail!("the killed rotation was not gone on with:\n{}", done.text());
    }
    refused(&trial, "node", &agent)?;
    survives(&trial, &worker)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;

    // With the proof: a new worker joins.
    trial.me("slicer-k3s rotate-token --server")?.expect(0)?;
    refused(&trial, "server", &server)?;
    survives(&trial, &worker)?;

    slicer(&trial)
}

/// Slicer's own token: given by us, and taken behind our back.
fn slicer(trial: &Trial) -> Result<()> {
    let token = |trial: &Trial| {
        let done = trial.root("pi5", "cat /var/lib/slicer/auth/token")?;
        Ok::<_, anyhow::Error>(done.expect(0)?.stdout.trim().to_owned())
    };
    let old = token(trial)?;
    let rotate = "slicer-k3s rotate-token --slicer pi5 --allow-outage --skip-proof";
    trial.me(rotate)?.expect(0)?;
    if token(trial)? == old {
        bail!("pi5 has the old Slicer token");
    }
    trial.fault(&["token", "pi5", "rotated"])?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    changes_nothing(trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}

/// The VM that runs the pod.
fn worker(trial: &Trial) -> Result<String> {
    let vms = trial.vms()?;
    let worker = vms.into_iter().find(|vm| !vm.starts_with("k3s-cp"));
    worker.context("no worker runs")
}

fn password(trial: &Trial, which: &str) -> Result<String> {
    let done = trial
        .me(&format!("slicer-k3s token --reveal {which}"))?
        .expect(0)?;
    let word = done.stdout.trim().rsplit(':').next();
    Ok(word.unwrap_or_default().to_owned())
}

/// Asked past the product.
fn refused(trial: &Trial, user: &str, password: &str) -> Result<()> {
    for server in ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"] {
        let script = format!(
            "curl -sk -o /dev/null -w '%{{http_code}}' -u {user}:{password} https://127.0.0.1:6443/v1-k3s/config"
        );
        let status = trial.root(server, &script)?.expect(0)?;
        if status.stdout.trim() != "401" {
            bail!("{server} answers {} to the old {user} token", status.stdout);
        }
    }
    Ok(())
}

/// A worker that was there before still is, also after its service has started anew.
fn survives(trial: &Trial, worker: &str) -> Result<()> {
    trial
        .root(
            worker,
            "systemctl restart k3s-agent && sleep 5 && systemctl is-active k3s-agent",
        )?
        .expect(0)
        .with_context(|| format!("{worker} did not survive the restart of its service"))?;
    trial
        .me(&format!(
            "slicer-k3s kubectl wait --for=condition=Ready --timeout=120s node -l slicer/hostname={worker}"
        ))?
        .expect(0)
        .map(drop)
}
