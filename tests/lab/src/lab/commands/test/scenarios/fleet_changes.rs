//! A fleet that changes: hosts come (also several at once, also killed in the middle), one leaves with pods running, one
//! dies and comes back. Nobody else notices, and cluster.toml stays the person's own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::prints::{FILES_AND_UNITS, Prints};
use super::super::trial::{CLUSTER_OF_THREE, Done, Trial};
use super::farewell::LEFT;
use super::{INIT, items, pod_runs};
use crate::place::Place;
use crate::say;

const FILE: &str = r#"# my cluster
name = "home"
[control-plane]
hosts = ["n100"]   # the quiet one
[hosts.n100]
ssh = "alex@192.168.1.11"

# the desktop
[hosts.ryzen]
ssh = "alex@192.168.1.12"
sudo-password-file = "~/sudo-ryzen"

[k3s] # nothing
"#;

const ADD: &str =
    "slicer-k3s add-host pi5 --ssh pi@192.168.1.13 --yes --accept-new-host-keys --skip-proof";

const REMOVE: &str = "slicer-k3s remove-host pi5 --yes";

/// Seconds that `add-host` may take until a leader has read the new group.
const ADD_SECONDS: f64 = 20.0;

/// One pod that only the Raspberry Pi's group can run, and that nobody may evict.
const WORKLOAD: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {slicer/hostgroup: k3s-agent-2}
      containers: [{name: p, image: "docker.io/rancher/mirrored-pause:3.6", resources: {requests: {cpu: 1200m}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"#;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-changes", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.put_mine("cluster.toml", "0644", FILE)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    trial
        .me("mkdir older && cp -r .local/state/slicer-k3s cluster.toml older/")?
        .expect(0)?;
    refusals(&trial).context("refusals")?;
    comes(&trial).context("a host comes")?;
    older(&trial).context("a second person")?;
    leaves(&trial).context("a host leaves")?;
    dies(&trial).context("a host dies")?;
    wanted(&trial).context("a host leaves while pods wait for it")
}

/// What cannot be is refused with its reason, and the file stays as it is.
fn refusals(trial: &Trial) -> Result<()> {
    let accept = "--accept-new-host-keys";
    for (command, status, says) in [
        (
            format!("slicer-k3s add-host pi5 --ssh pi@192.168.1.13 {accept}"),
            1,
            "--yes",
        ),
        (
            "slicer-k3s add-host pi6 --ssh root@192.168.1.12 --yes".to_owned(),
            2,
            "hosts.ryzen.ssh",
        ),
        (
            "slicer-k3s add-host ryzen --ssh pi@192.168.1.13 --yes".to_owned(),
            2,
            "called ryzen already",
        ),
        (
            "slicer-k3s add-host pi9 --ssh pi@192.168.1.99 --yes".to_owned(),
            1,
            "192.168.1.99",
        ),
        (REMOVE.to_owned(), 2, "hosts: n100, ryzen"),
        (
            "slicer-k3s remove-host n100 --yes".to_owned(),
            2,
            "runs servers",
        ),
    ] {
        refused(&trial.me(&command)?, status, says).with_context(|| command.clone())?;
    }
    // Before anything is written anywhere.
    trial
        .root("pi5", "mv /home/pi/.slicer/LICENSE /root/away")?
        .expect(0)?;
    refused(&trial.me(ADD)?, 1, "no Slicer licence on pi5")?;
    trial
        .root("pi5", "mv /root/away /home/pi/.slicer/LICENSE")?
        .expect(0)?;
    file_is(trial, FILE)
}

/// A host more is enrolled within seconds and nobody else notices; a killed run is finished by the next.
fn comes(trial: &Trial) -> Result<()> {
    let others = ["n100", "ryzen"];
    let before = Prints::of(trial, &others, &FILES_AND_UNITS)?;
    let done = trial.me(ADD)?.expect(0)?;
    let seconds = done.took.as_secs_f64();
    say::line(format_args!("  add_host_seconds: {seconds:.1}"));
    before.untouched(&Prints::of(trial, &others, &FILES_AND_UNITS)?)?;
    let again = trial.me(ADD)?.expect(0)?;
    if !again.text().contains("Nothing to change") {
        bail!("enrolled twice:\n{}", again.text());
    }
    if seconds > ADD_SECONDS {
        bail!("add-host took {seconds:.1} s, not {ADD_SECONDS}");
    }
    Ok(())
}

/// A second person, who knew the cluster before the host came, would take it away again: that is refused, and `import`
/// brings their state up to date.
fn older(trial: &Trial) -> Result<()> {
    let theirs = |command: &str| format!("cd older && XDG_STATE_HOME=~/older slicer-k3s {command}");
    let act = theirs("init --yes --skip-proof");
    refused(&trial.me(&act)?, 1, "home was changed from elsewhere")?;
    trial.me("cp cluster.toml older/")?.expect(0)?;
    trial.me(&theirs("import --force --yes"))?.expect(0)?;
    for command in [&*act, ADD] {
        let done = trial.me(command)?.expect(0)?;
        if !done.text().contains("Nothing to change") {
            bail!("{command} changed something:\n{}", done.text());
        }
    }
    Ok(())
}

/// Its pods are moved as their budget allows, nothing of it is left anywhere, and it can come again.
fn leaves(trial: &Trial) -> Result<()> {
    trial.put_mine("web.yaml", "0644", WORKLOAD)?;
    trial
        .me("slicer-k3s kubectl apply -f web.yaml")?
        .expect(0)?;
    pod_runs(trial, "web")?;
    let held = trial.me(&format!("{REMOVE} --drain-limit 10"))?;
    refused(&held, 1, "disruption budget")?;
    trial.me("slicer-k3s kubectl delete pdb web")?.expect(0)?;
    trial.me(&format!("timeout -s KILL 4 {REMOVE}"))?;
    trial.me(REMOVE)?.expect(0)?;
    let again = trial.me(REMOVE)?.expect(0)?;
    if !again.text().contains("Nothing to change") {
        bail!("it left twice:\n{}", again.text());
    }
    let slip = trial.me("slicer-k3s remove-host rizen --yes")?;
    refused(&slip, 2, "did you mean ryzen?")?;
    file_is(trial, FILE)?;
    nothing_left(trial)?;
    let left = trial.root("pi5", LEFT)?.expect(0)?;
    if !left.stdout.trim().is_empty() {
        bail!("left on pi5:\n{}", left.stdout);
    }
    trial.me(&format!("timeout -s KILL 6 {ADD}"))?;
    trial.me(ADD)?.expect(0)?;
    pod_runs(trial, "web")
}

/// A dead machine is taken out without being asked, and comes back under the name it had.
fn dies(trial: &Trial) -> Result<()> {
    trial.fault(&["link-down", "pi5"])?;
    refused(&trial.me(REMOVE)?, 1, "remove-host pi5 --gone")?;
    trial.me(&format!("{REMOVE} --gone"))?.expect(0)?;
    trial.me(&format!("{REMOVE} --gone"))?.expect(0)?;
    file_is(trial, FILE)?;
    nothing_left(trial)?;
    trial.fault(&["clear", "pi5"])?;
    trial.me(ADD)?.expect(0)?;
    pod_runs(trial, "web")
}

/// The autoscaler makes VMs there, none of which has joined yet: none may join a cluster that has forgotten them.
fn wanted(trial: &Trial) -> Result<()> {
    trial
        .me("slicer-k3s kubectl scale deploy web --replicas=0")?
        .expect(0)?;
    trial.me(REMOVE)?.expect(0)?;
    trial.me(ADD)?.expect(0)?;
    trial
        .me("slicer-k3s kubectl scale deploy web --replicas=4")?
        .expect(0)?;
    let begin = Instant::now();
    while !trial.vms()?.iter().any(|vm| vm.starts_with("k3s-agent-2")) {
        if begin.elapsed() > Duration::from_mins(1) {
            bail!("no VM was made for the pods");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    trial.me(REMOVE)?.expect(0)?;
    nothing_left(trial)?;
    // As long as a VM that lived on would take to join.
    std::thread::sleep(Duration::from_secs(20));
    nothing_left(trial)?;
    let vms = trial.vms()?;
    if let Some(vm) = vms.iter().find(|vm| vm.starts_with("k3s-agent-2")) {
        bail!("the VM {vm} is left over");
    }
    let pods = items(trial, "pods -l app=web")?;
    if pods.len() != 4 || pods.iter().any(|pod| pod["status"]["phase"] != "Pending") {
        bail!("pods that nobody can run do not wait: {pods:?}");
    }
    Ok(())
}

fn refused(done: &Done, status: i32, says: &str) -> Result<()> {
    if done.status == status && done.text().contains(says) {
        return Ok(());
    }
    bail!(
        "exit code {} instead of {status}, or it did not say `{says}`:\n{}",
        done.status,
        done.text()
    )
}

fn file_is(trial: &Trial, text: &str) -> Result<()> {
    let file = trial.me("cat cluster.toml")?.expect(0)?.stdout;
    if file == text {
        Ok(())
    } else {
        bail!("cluster.toml is another:\n{file}")
    }
}

/// No Node of the group that left, and no route to it on any host.
fn nothing_left(trial: &Trial) -> Result<()> {
    let nodes = items(trial, "nodes -l slicer/hostgroup=k3s-agent-2")?;
    if !nodes.is_empty() {
        bail!("{} ghosts are left", nodes.len());
    }
    for host in ["n100", "ryzen"] {
        let routes = trial.root(
            host,
            "ip route show via 192.168.1.13; grep -rs 192.168.1.13 /etc/slicer-k3s/routes.d",
        )?;
        if !routes.stdout.trim().is_empty() {
            bail!("{host} still has routes to pi5:\n{}", routes.stdout);
        }
    }
    Ok(())
}
