//! `destroy` where it is hard: a host that is off, kills at any moment, somebody else's Slicer on a host, a second person.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Done, Trial};
use super::farewell::LEFT;
use super::{INIT, UNHURRIED, killed, quick_look};
use crate::place::Place;
use crate::say;

/// A daemon with a VM, a unit whose name looks like ours and a route: all somebody else's.
const FOREIGN: &str = "set -e; mkdir -p /root/mine /etc/slicer-k3s; cd /root/mine
slicer new mine --cidr 192.168.200.0/24 --count 1 >mine.yaml
cat >/etc/systemd/system/slicer-mine.service <<END
[Service]
WorkingDirectory=/root/mine
ExecStart=/usr/local/bin/slicer up ./mine.yaml --license-file /home/alex/.slicer/LICENSE
[Install]
WantedBy=multi-user.target
END
echo '{}' >/etc/slicer-k3s/another.json
ip route add 10.99.0.0/24 via 192.168.1.11
systemctl daemon-reload; systemctl -q enable --now slicer-mine
until [ -s /lab/data/vms/mine-1/leader.pid ]; do sleep 1; done";

/// The same start of the same daemon, VM and route.
const STILL: &str = "systemctl is-active slicer-mine; systemctl is-enabled slicer-mine; systemctl show -p MainPID --value slicer-mine; \
    cat /lab/data/vms/mine-1/leader.pid /etc/slicer-k3s/another.json; ip route show 10.99.0.0/24; ip route show 192.168.200.0/24";

/// A volume on the VMs' own disks, with its claim.
const PRECIOUS: &str = r#"slicer-k3s kubectl apply -f - <<'END'
{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": {
  "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"},
  "claimRef": {"namespace": "default", "name": "precious"}}}
END"#;

const DESTROY: &str = "slicer-k3s destroy --yes --snapshot";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-destroy", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    // One server is enough to go.
    trial
        .me(r"sed -i 's/^hosts = .*/&\nservers = 1/' cluster.toml")?
        .expect(0)?;
    // The agents' ports must not be taken from under them: theirs first, then the other's.
    trial.root("ryzen", FOREIGN)?.expect(0)?;
    let before = trial.root("ryzen", STILL)?.expect(0)?.stdout;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    trial.me(PRECIOUS)?.expect(0)?;
    locked(&trial)?;

    trial.fault(&["link-down", "pi5"])?;
    let asked = trial.me("slicer-k3s destroy </dev/null")?.expect(1)?;
    for words in [
        "pi5: does not answer, and so keeps",
        "default/precious",
        "--yes",
    ] {
        says(&asked, words)?;
    }
    // A look is refused by the host that is off as the run is, and takes nothing away.
    trial.me("slicer-k3s destroy --dry-run")?.expect(1)?;
    trial.me("slicer-k3s kubectl get nodes")?.expect(0)?;
    // The first of them before it begins, the others in the middle.
    for moment in [5.0, 18.0, 24.0] {
        killed(&trial, moment, DESTROY)?;
    }
    let half = trial.me(DESTROY)?.expect(1)?;
    says(&half, "switch it on and run slicer-k3s destroy again")?;
    for host in ["n100", "ryzen"] {
        clean(&trial, host)?;
    }
    trial.fault(&["clear", "pi5"])?;
    let done = trial.me(DESTROY)?.expect(0)?;
    says(&done, "home is gone")?;
    clean(&trial, "pi5")?;
    let after = trial.root("ryzen", STILL)?.expect(0)?.stdout;
    if before != after {
        bail!("what is somebody else's changed from\n{before}to\n{after}");
    }
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    quick_look(&trial, UNHURRIED)?;
    let after = trial.root("ryzen", STILL)?.expect(0)?.stdout;
    if before != after {
        bail!("init changed what is somebody else's from\n{before}to\n{after}");
    }
    Ok(())
}

/// One run at a time, from here or elsewhere; the lock of a dead one is free at once.
fn locked(trial: &Trial) -> Result<()> {
    let elsewhere = "mkdir -p other && cp -r .local/state/slicer-k3s other/";
    trial.me(elsewhere)?.expect(0)?;
    let held =
        "(exec timeout -s KILL 60 slicer-k3s prove k3s-agent-2 --yes >first.log 2>&1) & sleep 5";
    let acting = [
        "init --yes --skip-proof",
        "prove",
        "rotate-token",
        "destroy --yes",
        "add-host new --ssh alex@192.168.1.99 --yes",
    ];
    let all = acting.map(|command| {
        format!("slicer-k3s {command}; echo \"code $?\"; XDG_STATE_HOME=~/other slicer-k3s {command}; echo \"code $?\"")
    });
    let done = trial.me(&format!("{held}; {}; wait", all.join("; ")))?;
    let text = done.text();
    let here = text
        .matches("slicer-k3s prove has been running here for")
        .count();
    let there = text
        .matches("me@workstation has been running slicer-k3s prove for")
        .count();
    // The second person's add-host cannot reach its new host before it comes to the lock.
    if here != 5 || there < 4 || text.matches("code 1").count() < 9 {
        bail!("told here {here}, elsewhere {there} times:\n{text}");
    }
    let begin = Instant::now();
    trial
        .me("slicer-k3s init --yes --skip-proof")?
        .expect(0)
        .context("after a killed run")?;
    say::line(format_args!(
        "  init after a killed proof: {:.0} s",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Nothing of ours is on a host.
fn clean(trial: &Trial, host: &str) -> Result<()> {
    let left = trial.root(host, LEFT)?.expect(0)?.stdout;
    let ours: Vec<&str> = left
        .lines()
        .filter(|line| !line.contains("mine") && *line != "/etc/slicer-k3s")
        .collect();
    if ours.is_empty() {
        return Ok(());
    }
    bail!("left on {host}:\n{}", ours.join("\n"))
}

fn says(done: &Done, words: &str) -> Result<()> {
    if done.text().contains(words) {
        Ok(())
    } else {
        bail!("no word of {words}:\n{}", done.text())
    }
}
