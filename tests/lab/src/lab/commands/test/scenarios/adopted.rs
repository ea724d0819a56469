//! A cluster that somebody made by following the manual becomes ours: nobody's pod ends, no VM boots, the API answers all
//! the while; what its owner wrote stays, and comes back after a reboot.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::Trial;
use super::manual::SCRIPT;
use super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, healthy, restarts};
use crate::place::Place;
use crate::say;

const SERVERS: [&str; 3] = ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"];

const IMPORT: &str = "slicer-k3s import alex@192.168.1.11 alex@192.168.1.12 pi@192.168.1.13 \
     --sudo-password-file alex@192.168.1.12=~/sudo-ryzen --accept-new-host-keys --yes";

/// The administrator of the hand-made cluster, with the manual's kubeconfig made again.
const KUBECTL: &str = "/lab/bin/kubectl --kubeconfig ~/by-hand";

/// A pod on an agent of each group, and what counts how often the API failed to answer.
const WORK: &str = r#"ssh -n -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR ubuntu@192.168.137.2 \
  sudo cat /etc/rancher/k3s/k3s.yaml | sed s/127.0.0.1/192.168.137.3/ >~/by-hand
for group in 1 2; do
  /lab/bin/kubectl --kubeconfig ~/by-hand apply -f - <<END
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-$group"}, "spec": {
  "terminationGracePeriodSeconds": 0, "nodeSelector": {"slicer/hostgroup": "k3s-agents-$group"},
  "containers": [{"name": "web", "image": "docker.io/library/busybox:latest", "imagePullPolicy": "IfNotPresent",
                  "command": ["sleep", "100000"]}]}}
END
done
/lab/bin/kubectl --kubeconfig ~/by-hand wait --for=condition=Ready pod/web-1 pod/web-2 --timeout=240s"#;

/// A person's own setting, in a file that k3s reads besides config.yaml.
const SETTING: &str = "max-pods=111";
const DROP_IN: &str = "mkdir -p /etc/rancher/k3s/config.yaml.d && \
     echo 'kubelet-arg: max-pods=111' >/etc/rancher/k3s/config.yaml.d/10-own.yaml";

/// Asks all three servers, a client's way: a server that restarts is no outage, three that do not answer are.
const PATROL: &str = r"rm -f ~/stop ~/outages; touch ~/outages; cd
while [ ! -e stop ]; do
  ok=; for s in 2 3 4; do curl -sk -m 2 https://192.168.137.$s:6443/ping >/dev/null && ok=1 && break; done
  [ -n ''$ok ] || date >>outages
  sleep 0.2
done";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-adopted", &[])?;
    by_hand(&trial)?;
    for server in SERVERS {
        trial.root(server, DROP_IN)?.expect(0)?;
    }
    let before = standing(&trial)?;

    let done = trial.me(IMPORT)?.expect(0)?;
    say::line(format_args!("  import: {:.1} s", done.took.as_secs_f64()));
    if !done.text().contains("adopted") {
        bail!("it does not say what it did:\n{}", done.text());
    }
    // Settings of a person's own may be passwords: in the file, which is its owner's alone, and not at the terminal.
    let file = trial.me("stat -c %a cluster.toml; cat cluster.toml")?;
    let file = file.expect(0)?.stdout;
    if !file.starts_with("600\n") || !file.contains(SETTING) || done.text().contains(SETTING) {
        bail!(
            "{SETTING} was not taken over in private:\n{file}{}",
            done.text()
        );
    }
    // A look changes nothing, and says what a run would.
    let dry = trial
        .me("slicer-k3s init --dry-run --skip-proof")?
        .expect(3)?;
    let rolling = "k3s on k3s-cp-1, k3s-cp-2, k3s-cp-3 restarts, one after the other";
    for part in [rolling, "cloud-config", "slicer-k3s-routes"] {
        if !dry.text().contains(part) {
            bail!("{part} is not among the changes:\n{}", dry.text());
        }
    }
    unchanged(&trial, &before, "a look")?;

    trial
        .me(&format!("(sh -c '{PATROL}' >/dev/null 2>&1 &)"))?
        .expect(0)?;
    let done = trial.me(UNPROVEN)?.expect(0)?;
    let outages = trial.me("touch stop; cat outages")?.expect(0)?.stdout;
    say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
    if !outages.is_empty() {
        bail!("no server answered at:\n{outages}");
    }
    unchanged(&trial, &before, "init")?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0)?;
    // The agents' token is their own since then, which k3s has to start with.
    restarts::each_server(&trial, &SERVERS, 2)?;
    unchanged(&trial, &before, "a restart of each server")?;
    no_drift(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    // By the marks it is found again like any other.
    trial
        .me("mkdir lost && mv cluster.toml .local/state/slicer-k3s lost/")?
        .expect(0)?;
    trial.me(IMPORT)?.expect(0)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    trial.me("diff cluster.toml lost/cluster.toml")?.expect(0)?;
    let secrets = "cat /etc/systemd/system/k3s.service /etc/systemd/system/k3s.service.env";
    for server in SERVERS {
        if trial.root(server, secrets)?.stdout.contains("K3S_TOKEN") {
            bail!("a token is left in the unit of {server}");
        }
    }
    for host in ["n100", "ryzen", "pi5"] {
        let kept = "/etc/systemd/system/slicer-routes.service /root/add-routes.sh; systemctl is-enabled slicer-routes";
        trial.root(host, &format!("ls {kept}"))?.expect(0)?;
    }
    let refused = trial
        .me("cp cluster.toml keep && sed -i '/^\\[hosts.ryzen\\]/a workers.ram-gb = 8' cluster.toml; \
             sed -i 's/^workers = .*cpu.*$//' cluster.toml; slicer-k3s init --dry-run; e=$?; mv keep cluster.toml; exit $e")?;
    if refused.status == 0 || !refused.text().contains("was adopted") {
        bail!("another size was not refused:\n{}", refused.text());
    }

    // It scales, with what was made anew.
    // What the autoscaler remembers of nodes whose pods had no other place lasts five minutes.
    let delete = format!(
        "{KUBECTL} delete pod web-1 web-2 --now && \
         {KUBECTL} rollout restart -n kube-system deployment/slicer-cluster-autoscaler"
    );
    trial.me(&delete)?.expect(0)?;
    trial.me(INIT)?.expect(0)?;
    // The agents of before go as those of the proof did.
    let begin = Instant::now();
    while let Err(error) = healthy(&trial) {
        if begin.elapsed() > Duration::from_mins(3) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    reboot(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    restarts::all_hosts(&trial, &["n100", "ryzen", "pi5"], &SERVERS)?;
    whole_again(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)?;
    restarts::each_server(&trial, &SERVERS, 1)?;
    no_drift(&trial)?;
    farewell(&trial)
}

/// The manual, and somebody's pods.
fn by_hand(trial: &Trial) -> Result<()> {
    trial.put("workstation", "/usr/local/bin/manual.sh", "0755", SCRIPT)?;
    trial.put_mine("sudo-ryzen", "0600", "correct horse\n")?;
    trial.put_mine(
        "sudo-passwords",
        "0600",
        "alex@192.168.1.12 correct horse\n",
    )?;
    trial
        .me("SKIP_TEST=1 SUDO_PASSWORDS=~/sudo-passwords manual.sh")?
        .expect(0)?;
    trial.me(WORK)?.expect(0).map(drop)
}

/// What must not change: boots of VMs, pods and their restarts, the daemons' processes, what their owner wrote.
fn standing(trial: &Trial) -> Result<String> {
    let pods = "get pods -o custom-columns=N:.metadata.name,U:.metadata.uid,R:.status.containerStatuses[0].restartCount,\
                V:.spec.nodeName --no-headers";
    let mut standing = trial.me(&format!("{KUBECTL} {pods}"))?.expect(0)?.stdout;
    for server in SERVERS {
        standing += &trial.root(server, "stat -c %Y /proc/1")?.expect(0)?.stdout;
    }
    for (host, user) in [("n100", "alex"), ("ryzen", "alex"), ("pi5", "pi")] {
        let script = format!(
            "pgrep -x slicer; cd /home/{user}; sha256sum k3s-*.yaml; find . -name '*.yaml' -o -name '*.img' | sort"
        );
        standing += &trial.root(host, &script)?.expect(0)?.stdout;
    }
    Ok(standing)
}

fn unchanged(trial: &Trial, before: &str, by: &str) -> Result<()> {
    let now = standing(trial)?;
    if now != before {
        bail!("{by} changed what is not ours:\n{before}\n{now}");
    }
    Ok(())
}

/// What was started by hand is started by its unit from now on.
fn reboot(trial: &Trial) -> Result<()> {
    let begin = Instant::now();
    trial.root("n100", "systemctl reboot")?;
    std::thread::sleep(Duration::from_secs(1));
    let ready = "slicer-k3s kubectl get --raw /readyz";
    while trial.me(ready)?.status != 0 {
        if begin.elapsed() > Duration::from_mins(5) {
            bail!("the servers did not come back after their host's reboot");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    say::line(format_args!(
        "  back after the reboot of its host: {:.0} s",
        begin.elapsed().as_secs_f64()
    ));
    trial
        .root("n100", "systemctl is-active slicer-k3s-cp")?
        .expect(0)
        .context("its unit does not run")?;
    whole_again(trial)
}

/// `status` sees no drift any more.
fn whole_again(trial: &Trial) -> Result<()> {
    let begin = Instant::now();
    loop {
        let done = trial.me("slicer-k3s status")?;
        if done.status == 0 {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_mins(3) {
            bail!("not whole after a reboot:\n{}", done.text());
        }
    }
}

fn no_drift(trial: &Trial) -> Result<()> {
    let done = trial.me("slicer-k3s status")?.expect(0)?;
    if !done.stdout.contains("No drift") {
        bail!("exit code 0, and yet:\n{}", done.stdout);
    }
    Ok(())
}

/// It goes as any other cluster does; its owner's files stay.
fn farewell(trial: &Trial) -> Result<()> {
    trial.me("slicer-k3s destroy --yes")?.expect(0)?;
    for (host, user) in [("n100", "alex"), ("ryzen", "alex"), ("pi5", "pi")] {
        let left = "pgrep -x slicer; ls -d /sys/class/net/br* /etc/systemd/system/slicer-k3s-* /var/lib/slicer-k3s \
                    2>/dev/null; true";
        let left = trial.root(host, left)?.expect(0)?.stdout;
        if !left.is_empty() {
            bail!("left on {host}:\n{left}");
        }
        trial
            .root(host, &format!("ls /home/{user}/k3s-*.yaml"))?
            .expect(0)?;
    }
    Ok(())
}
