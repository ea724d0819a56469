//! The product on fleets, as a person would run it. One scenario a file.

mod addons;
mod adopted;
mod destroy;
mod destroy_beside;
mod enrol_kills;
mod errors;
mod farewell;
mod fingerprint;
mod first_contact;
mod fleet_changes;
mod generated;
mod helm_failures;
mod home;
mod import;
mod init_bare;
mod init_beside;
mod init_local;
mod init_one;
mod init_spread;
mod init_three;
mod k3s_servers;
mod kills;
mod local_data;
mod manual;
mod many_pods;
mod mixed;
mod proxies;
mod reconfigured;
mod restarts;
mod routes;
mod servers_lost;
mod shared;
mod silent_group;
mod status;
mod status_scaling;
mod tokens;
mod versions;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Check;
use super::trial::{Done, Trial};

/// The command that every scenario begins with.
const INIT: &str = "slicer-k3s init --yes --accept-new-host-keys";

/// The same on a cluster that is there, where no proof is to come in between.
const UNPROVEN: &str = "slicer-k3s init --yes --skip-proof";

/// A pod that only an agent can run. It takes most of one: an agent with a small pod that fits nowhere else is looked at, found
/// unremovable, and looked at again five minutes later, whether or not the pod is still there.
const WEB: &str = r#"slicer-k3s kubectl apply -f - <<'END'
{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
  "selector": {"matchLabels": {"app": "web"}},
  "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
    "terminationGracePeriodSeconds": 0, "nodeSelector": {"slicer/hostgroup": "k3s-agent-1"},
    "containers": [{"name": "web", "image": "busybox", "command": ["sleep", "100000"],
      "resources": {"requests": {"cpu": "1200m"}}}]}}}}
END"#;

/// In the order of their length.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::quick("errors-quick", errors::quick::run),
        Check::quick("init-bare", init_bare::run),
        Check::quick("init-local", init_local::run),
        Check::quick("init-one", init_one::run),
        Check::quick("init-three", init_three::run),
        Check::long("errors", errors::long::run),
        Check::long("manual", manual::run),
        Check::long("k3s-servers", k3s_servers::run),
        Check::long("init-spread", init_spread::run),
        Check::long("mixed", mixed::run),
        Check::long("init-beside", init_beside::run),
        Check::long("destroy", destroy::run),
        Check::long("destroy-beside-foreign", destroy_beside::run),
        Check::long("local-data", local_data::run),
        Check::long("status", status::run),
        Check::long("status-scaling", status_scaling::run),
        Check::long("addons", addons::run),
        Check::long("silent-group", silent_group::run),
        Check::long("import", import::run),
        Check::long("adopted", adopted::run),
        Check::long("helm-failures", helm_failures::run),
        Check::long("proxies", proxies::run),
        Check::long("routes", routes::run),
        Check::long("shared", shared::run),
        Check::long("reconfigured", reconfigured::run),
        Check::long("versions", versions::run),
        Check::long("many-pods", many_pods::run),
        Check::long("fleet-changes", fleet_changes::run),
        Check::long("enrol-kills", enrol_kills::run),
        Check::seeded("kills", kills::run),
    ]
    .into_iter()
    .chain(servers_lost::checks())
    .chain(tokens::checks())
    .collect()
}

/// What `init` on an unchanged cluster must say: nothing to change, within `limit` seconds. The best of three counts: the
/// fleet's own machines share this one's processors.
fn changes_nothing(trial: &Trial, user: (&str, &str), command: &str, limit: f64) -> Result<()> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let done = trial.as_user(user.0, user.1, command)?.expect(0)?;
        if !done.text().contains("Nothing to change") {
            bail!("the second run changed something:\n{}", done.text());
        }
        best = best.min(done.took.as_secs_f64());
    }
    crate::say::line(format_args!("  a run with nothing to do: {best:.1} s"));
    if best > limit {
        bail!("a run with nothing to do took {best:.1} s, not {limit}");
    }
    Ok(())
}

/// Seconds that `status` may take on three hosts where the lab has the machine for itself are 2; the lab's machines are at
/// work on the same processors.
const STATUS: f64 = 5.0;

/// `status` on a cluster without drift: exit 0, and the best of three within `limit` seconds.
fn quick_look(trial: &Trial, limit: f64) -> Result<()> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let done = trial.me("slicer-k3s status")?.expect(0)?;
        if !done.stdout.contains("No drift") {
            bail!("exit code 0, and yet:\n{}", done.stdout);
        }
        best = best.min(done.took.as_secs_f64());
    }
    crate::say::line(format_args!("  status: {best:.1} s"));
    if best > limit {
        bail!("status took {best:.1} s, not {limit}");
    }
    Ok(())
}

/// Seconds that a run with nothing to do may take on one host.
const RERUN: f64 = 3.0;

/// The same on three hosts. The promise is 3 s and is measured by `cargo lab bench` with the release build
/// (docs/performance.md); here a debug build shares two processors with all of the fleet.
const RERUN_OF_THREE: f64 = 8.0;

/// For scenarios in which whether anything changes is what counts, not how long it takes to see.
const UNHURRIED: f64 = 60.0;

/// `kubectl get KIND -o json` through the product; the items.
fn items(trial: &Trial, words: &str) -> Result<Vec<Value>> {
    let done = trial
        .me(&format!("slicer-k3s kubectl get {words} -o json"))?
        .expect(0)?;
    let mut document: Value = serde_json::from_str(&done.stdout).context("kubectl's JSON")?;
    match document["items"].take() {
        Value::Array(items) => Ok(items),
        _ => bail!("kubectl printed no list"),
    }
}

/// The headings of the autoscaler's groups, as the cluster has them.
fn groups(trial: &Trial) -> Result<String> {
    let headings = "slicer-k3s kubectl get secret -n kube-system cluster-autoscaler-cloud-config \
        -o jsonpath='{.data.cloud-config}' | base64 -d | grep nodegroup";
    Ok(trial.me(headings)?.expect(0)?.stdout)
}

/// Waits until a pod of this app runs.
fn pod_runs(trial: &Trial, app: &str) -> Result<()> {
    let begin = Instant::now();
    loop {
        let pods = items(trial, &format!("pods -l app={app}"))?;
        let runs = |pod: &Value| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        };
        if pods.iter().any(runs) {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_mins(3) {
            bail!("no pod of {app} runs: {pods:?}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// A fleet with as little of Slicer's masquerading as there may be, and one with what it does by default.
fn each_masquerade(fleet: &str, name: &str, once: impl Fn(&Trial) -> Result<()>) -> Result<()> {
    for masquerade in ["public-only", "all"] {
        crate::say::line(format_args!("  masquerade={masquerade}"));
        let trial = Trial::up_as(fleet, name, &format!("masquerade={masquerade}"))?;
        once(&trial).with_context(|| format!("masquerade={masquerade}"))?;
    }
    Ok(())
}

/// Every node's name with whether it is Ready and whether its etcd member votes.
fn nodes(items: &[Value]) -> BTreeMap<String, (bool, bool)> {
    let holds = |node: &Value, kind: &str| {
        node["status"]["conditions"]
            .as_array()
            .is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|c| c["type"] == kind && c["status"] == "True")
            })
    };
    items
        .iter()
        .map(|node| {
            let name = node["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            (name, (holds(node, "Ready"), holds(node, "EtcdIsVoter")))
        })
        .collect()
}

/// Every node; three of them are servers, all Ready, all voters.
fn voters(trial: &Trial) -> Result<BTreeMap<String, (bool, bool)>> {
    let nodes = nodes(&items(trial, "nodes")?);
    let servers: Vec<_> = nodes
        .iter()
        .filter(|(name, _)| name.starts_with("k3s-cp"))
        .collect();
    if servers.len() != 3 || servers.iter().any(|(_, (ready, voter))| !ready || !voter) {
        bail!("not three Ready voters: {nodes:?}");
    }
    Ok(nodes)
}

/// How many VMs of agents run.
fn agents(trial: &Trial) -> Result<usize> {
    let vms = trial.vms()?;
    Ok(vms.iter().filter(|vm| !vm.starts_with("k3s-cp-")).count())
}

/// Three servers, all Ready, all voters, and nothing of a proof left.
fn healthy(trial: &Trial) -> Result<()> {
    let nodes = voters(trial)?;
    if nodes.len() != 3 {
        bail!("nodes are left over: {:?}", nodes.keys());
    }
    let pods = items(trial, "pods -A -l slicer-k3s.dev/proof")?;
    if !pods.is_empty() {
        bail!("{} pods of the proof are left", pods.len());
    }
    match trial.vms()?.iter().find(|vm| !vm.starts_with("k3s-cp")) {
        Some(vm) => bail!("the VM {vm} is left over"),
        None => Ok(()),
    }
}

/// Runs a command of the person's and kills it after so many seconds, unless it was quicker.
fn killed(trial: &Trial, moment: f64, command: &str) -> Result<Done> {
    let done = trial.me(&format!("timeout -s KILL {moment:.2} {command}"))?;
    let text = done.text();
    let last = text.lines().rfind(|line| !line.contains("Killed"));
    let how = if done.status == 0 {
        "done before"
    } else {
        "killed after"
    };
    crate::say::line(format_args!(
        "  {how} {moment:.1} s; last line: {}",
        last.unwrap_or_default()
    ));
    Ok(done)
}

/// Every secret of the run, by name: what no command line, log or open file may hold.
fn secrets(trial: &Trial, hosts: &[&str]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for which in ["agent", "server"] {
        let done = trial
            .me(&format!("slicer-k3s token --reveal {which}"))?
            .expect(0)?;
        // The password behind the last colon is the secret; the rest is a public hash.
        let token = done
            .stdout
            .trim()
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        found.push((format!("the {which} token"), token));
    }
    for host in hosts {
        let token = trial
            .root(host, "cat /var/lib/slicer/auth/token")?
            .expect(0)?;
        found.push((
            format!("Slicer's token of {host}"),
            token.stdout.trim().to_owned(),
        ));
    }
    if let Some((name, _)) = found.iter().find(|(_, secret)| secret.len() < 16) {
        bail!("{name} is too short to look for");
    }
    Ok(found)
}

/// No output may hold a secret.
fn silent(done: &Done, secrets: &[(String, String)]) -> Result<()> {
    match secrets
        .iter()
        .find(|(_, secret)| done.text().contains(secret.as_str()))
    {
        Some((name, _)) => bail!("{name} was printed"),
        None => Ok(()),
    }
}
