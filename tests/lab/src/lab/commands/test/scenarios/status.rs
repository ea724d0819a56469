//! `status` on a fleet: each kind of drift is named, with the command that mends it, and that command does mend it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, STATUS, quick_look};
use crate::place::Place;
use crate::say;

/// A way to make a cluster drift.
enum Make {
    /// As root on a machine.
    Root(&'static str, &'static str),
    /// As the person at the workstation.
    Me(&'static str),
    /// One of the lab's faults.
    Fault(&'static [&'static str]),
}

/// One kind of drift.
struct Drift {
    make: Make,
    /// What the document calls it.
    kind: &'static str,
    /// The machine that it is about.
    machine: &'static str,
    /// 1 where not all could be looked at.
    code: i32,
}

const fn drift(make: Make, kind: &'static str, machine: &'static str) -> Drift {
    Drift {
        make,
        kind,
        machine,
        code: 4,
    }
}

/// A secret's value is never told, so it can only be overwritten.
const OTHER_TOKEN: &str = r#"port=$(sed -n 's/^ *port: //p' /var/lib/slicer-k3s/home/k3s-agent-1/*.yaml | head -n1)
curl -sf -X PATCH -H "Authorization: Bearer $(cat /var/lib/slicer/auth/token)" -H 'Content-Type: application/json' \
  -d '{"data":"d3Jvbmc="}' "http://127.0.0.1:$port/secrets/k3s-token""#;

/// Certificates as they are in the last weeks of a year without a restart: this start makes them for 20 days, the next one for
/// a year.
const SHORT_CERTIFICATES: &str = r"drop_in=/run/systemd/system/k3s.service.d/short-certificates.conf
mkdir -p ${drop_in%/*}
printf '[Service]\nEnvironment=CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS=20\n' >$drop_in
systemctl daemon-reload && systemctl restart k3s; code=$?
rm $drop_in; systemctl daemon-reload; exit $code";

/// In this order; each leaves a cluster without drift.
const TABLE: [Drift; 14] = [
    drift(
        Make::Root("ryzen", "systemctl stop slicer-k3s-agent-1"),
        "daemon-running",
        "ryzen",
    ),
    drift(
        Make::Root(
            "pi5",
            "systemctl stop slicer-k3s-routes; ip route del 192.168.137.0/24",
        ),
        "routes",
        "pi5",
    ),
    drift(
        Make::Me(
            "slicer-k3s kubectl patch secret -n kube-system cluster-autoscaler-cloud-config \
             --type merge -p '{\"data\":{\"cloud-config\":\"W2dsb2JhbF0K\"}}'",
        ),
        "cloud-config",
        "cluster",
    ),
    drift(
        Make::Root("ryzen", OTHER_TOKEN),
        "k3s-token-secret",
        "ryzen",
    ),
    drift(
        Make::Me("printf '[hosts.ryzen.workers]\\nmax = 3\\n' >>cluster.toml"),
        "config",
        "ryzen",
    ),
    drift(
        Make::Fault(&["token", "pi5", "rotated"]),
        "cloud-config",
        "cluster",
    ),
    drift(
        Make::Root("k3s-cp-1", "systemctl stop k3s"),
        "server-api",
        "k3s-cp-1",
    ),
    drift(
        Make::Root("k3s-cp-2", SHORT_CERTIFICATES),
        "certificates",
        "k3s-cp-2",
    ),
    drift(
        Make::Fault(&["vm-dies", "k3s-cp-3"]),
        "server-vm",
        "k3s-cp-3",
    ),
    drift(
        Make::Me("slicer-k3s kubectl delete node k3s-cp-2 --wait=false && sleep 8"),
        "server-api",
        "k3s-cp-2",
    ),
    // An agent is there by now. Its VM goes, then its Node; a new one comes for the pod that waits.
    drift(
        Make::Root(
            "ryzen",
            "slicer vm delete k3s-agent-1-1 k3s-agent-1 --url http://127.0.0.1:8081",
        ),
        "node-without-vm",
        "k3s-agent-1-1-",
    ),
    drift(
        Make::Me(
            "until node=$(slicer-k3s kubectl get nodes -l slicer/hostgroup=k3s-agent-1 -o name | grep .); do sleep 1; done; \
             slicer-k3s kubectl delete deployment web --now && slicer-k3s kubectl delete $node",
        ),
        "vm-without-node",
        "k3s-agent-1-1",
    ),
    drift(
        Make::Me(
            "slicer-k3s kubectl run hopeless --image=busybox \
             --overrides '{\"spec\":{\"nodeSelector\":{\"no\":\"such\"}}}'",
        ),
        "pods-pending",
        "cluster",
    ),
    Drift {
        make: Make::Fault(&["link-down", "pi5"]),
        kind: "host-unreachable",
        machine: "pi5",
        code: 1,
    },
];

/// A pod that only an agent of ryzen can run.
const WEB: &str = r#"slicer-k3s kubectl apply -f - <<'END'
{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
  "selector": {"matchLabels": {"app": "web"}},
  "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "web", "image": "busybox", "command": ["sleep", "100000"]}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
      {"matchExpressions": [{"key": "slicer/hostgroup", "operator": "In", "values": ["k3s-agent-1"]}]}]}}}}}}}
END"#;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-status", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    quick_look(&trial, STATUS)?;
    wrong_file(&trial).context("a wrong cluster.toml")?;
    trial.me(WEB)?.expect(0)?;
    let only = std::env::var("LAB_DRIFT").unwrap_or_default();
    for drift in TABLE
        .iter()
        .filter(|drift| only.split(',').any(|kind| drift.kind.contains(kind)))
    {
        one(&trial, drift).with_context(|| format!("{} of {}", drift.kind, drift.machine))?;
    }
    Ok(())
}

/// While cluster.toml is wrong the last plan does: looking at the cluster is how a person finds out what is wrong.
fn wrong_file(trial: &Trial) -> Result<()> {
    trial.me("echo 'nonsense = 1' >>cluster.toml")?.expect(0)?;
    let status = trial.me("slicer-k3s status")?.expect(2)?;
    if !status.stdout.contains("k3s-cp-3") || !status.stderr.contains("nonsense") {
        bail!("not the servers and then the mistake:\n{}", status.text());
    }
    trial.me("slicer-k3s kubectl get nodes")?.expect(0)?;
    trial.me("slicer-k3s kubectl get node no-such")?.expect(1)?;
    let logs = trial.me("slicer-k3s logs autoscaler --since 15m --grep Slicer")?;
    let logs = logs.expect(2)?;
    if !logs.stdout.contains("Slicer") {
        bail!("no lines of the autoscaler:\n{}", logs.text());
    }
    trial.me("sed -i '$d' cluster.toml")?.expect(0)?;
    trial.me("slicer-k3s status")?.expect(0).map(drop)
}

/// Makes it, sees it named, follows the hint, sees it gone.
fn one(trial: &Trial, drift: &Drift) -> Result<()> {
    if drift.kind == "node-without-vm" {
        let joined =
            "until slicer-k3s kubectl get nodes | grep -q 'k3s-agent-1.* Ready'; do sleep 1; done";
        trial
            .me(&format!("timeout 200 sh -c \"{joined}\""))?
            .expect(0)?;
    }
    match &drift.make {
        Make::Root(machine, script) => trial.root(machine, script)?.expect(0).map(drop)?,
        Make::Me(script) => trial
            .me(&format!(
                "timeout 200 sh -c '{}'",
                script.replace('\'', r"'\''")
            ))?
            .expect(0)
            .map(drop)?,
        Make::Fault(words) => trial.fault(words)?,
    }
    // What is young may be on its way: a clock that is ahead stands for the minutes of waiting.
    let waits = ["vm-without-node", "pods-pending"].contains(&drift.kind);
    if waits {
        for host in ["n100", "ryzen"] {
            trial.fault(&["date", host, "--seconds", "900"])?;
        }
    }
    let begin = Instant::now();
    let (exactly, code, found) = loop {
        let (code, found) = look(trial)?;
        // In the first moments it shows by what follows from it: a VM that just died is listed still, and silent.
        let exactly = code == drift.code && found.len() == 1 && is(&found[0], drift);
        let exactly = exactly || code == drift.code && stops_scaling(&found, drift);
        if exactly || begin.elapsed() > Duration::from_secs(30) {
            break (exactly, code, found);
        }
    };
    let told: Vec<String> = found.iter().map(shown).collect();
    if !exactly {
        bail!("exit code {code}, told:\n{}", told.join("\n"));
    }
    say::line(format_args!("  {}", told.join("\n  ")));
    mend(trial, drift, found[0]["mend"].as_str().unwrap_or_default())?;
    if waits {
        trial.fault(&["clear"])?;
    }
    let begin = Instant::now();
    loop {
        let (code, found) = look(trial)?;
        if code == 0 {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_mins(1) {
            let told: Vec<String> = found.iter().map(shown).collect();
            bail!("still after its mend:\n{}", told.join("\n"));
        }
    }
}

/// A group that does not answer any more also holds up the others: that is told after its cause.
fn stops_scaling(found: &[Value], drift: &Drift) -> bool {
    let [cause, consequence] = found else {
        return false;
    };
    is(cause, drift) && consequence["kind"] == "silent-group"
}

fn is(found: &Value, drift: &Drift) -> bool {
    let machine = found["machine"].as_str().unwrap_or_default();
    found["kind"] == drift.kind && machine.starts_with(drift.machine)
}

fn shown(found: &Value) -> String {
    let part = |key: &str| found[key].as_str().unwrap_or_default();
    format!(
        "{} {}: {} → {}",
        part("kind"),
        part("machine"),
        part("what"),
        part("mend")
    )
}

/// The exit code and the document's drift.
fn look(trial: &Trial) -> Result<(i32, Vec<Value>)> {
    let done = trial.me("slicer-k3s status --output json")?;
    let document: Value = serde_json::from_str(&done.stdout)
        .with_context(|| format!("no document: {}", done.text()))?;
    let drift = document["drift"].as_array().context("no drift")?;
    Ok((done.status, drift.clone()))
}

/// Does what the hint says, as it says it.
fn mend(trial: &Trial, drift: &Drift, hint: &str) -> Result<()> {
    if hint == "slicer-k3s init" {
        trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    } else if let Some(command) = hint.strip_prefix("on ryzen: ") {
        trial.as_user("ryzen", "root", command)?.expect(0)?;
    } else if drift.kind == "host-unreachable" && hint.starts_with("switch pi5 on") {
        trial.fault(&["clear", "pi5"])?;
    } else if drift.kind == "pods-pending" {
        // What it asks to look at tells why; a pod that fits nowhere is the person's own.
        let done = trial.me(hint)?.expect(0)?;
        if !done.text().contains("FailedScheduling") {
            bail!("{hint} does not tell why:\n{}", done.text());
        }
        trial
            .me("slicer-k3s kubectl delete pod hopeless --now")?
            .expect(0)?;
    } else if ["slicer-k3s kubectl delete node ", "slicer-k3s exec "]
        .iter()
        .any(|command| hint.starts_with(command))
    {
        trial.me(hint)?.expect(0)?;
    } else {
        bail!("the hint is no command: {hint}");
    }
    Ok(())
}
