//! A cluster with more pods than one answer of its API holds: a host leaves it as quickly as an empty one.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, items};
use crate::place::Place;
use crate::say;

/// The host that leaves and comes back, and its group.
const HOST: &str = "pi5";
const GROUP: &str = "k3s-agent-2";

const REMOVE: &str = "slicer-k3s remove-host pi5 --yes --output ndjson 2>said";

const ADD: &str =
    "slicer-k3s add-host pi5 --ssh pi@192.168.1.13 --yes --accept-new-host-keys --skip-proof";

/// How many pods, of 10 kB each: 7 MB of JSON, where an output holds 4 MiB.
const PODS: usize = 700;

/// Seconds that a drain may take longer with all these pods than with none.
const LONGER: f64 = 1.0;

/// Each drain is measured so often, and the best counts: the fleet's own machines share the processors.
const ROUNDS: usize = 2;

/// A Node that no kubelet stands for. It is the group's, so that there is something to drain.
const NODE: &str = r#"cat >/tmp/node.json <<'END'
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "phantom", "labels": {"slicer/hostgroup": "k3s-agent-2"}}}
END
k3s kubectl apply --server-side -f /tmp/node.json"#;

/// Seven more Nodes without a kubelet, of no group, and a hundred pods on each, in one list: what they are made of never runs.
const MANY: &str = r#"set -e
pad=$(head -c 9500 /dev/zero | tr '\0' x)
{
  printf '{"apiVersion": "v1", "kind": "List", "items": ['
  for n in 1 2 3 4 5 6 7; do
    printf '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "far-%s"}},\n' "$n"
  done
  i=0
  while [ "$i" -lt 700 ]; do
    [ "$i" -eq 0 ] || printf ',\n'
    printf '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "many-%s", "namespace": "default", "labels": {"app": "many"}}, "spec": {"nodeName": "far-%s", "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}], "containers": [{"name": "p", "image": "busybox", "env": [{"name": "PAD", "value": "%s"}]}]}}' "$i" "$((i % 7 + 1))" "$pad"
    i=$((i + 1))
  done
  printf ']}\n'
} >/tmp/many.json
k3s kubectl apply --server-side -f /tmp/many.json >/dev/null
rm /tmp/many.json"#;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "many-pods", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    let alone = drain(&trial).context("with no pods")?;
    trial
        .root("k3s-cp-1", MANY)?
        .expect(0)
        .context("the pods")?;
    let pods = items(&trial, "pods -l app=many")?.len();
    if pods != PODS {
        bail!("{pods} pods were made, not {PODS}");
    }
    let among = drain(&trial).context("with many pods")?;
    say::line(format_args!(
        "  a drain: {alone:.1} s with no pods, {among:.1} s with {PODS}"
    ));
    if among > alone + LONGER {
        bail!("the drain took {among:.1} s with {PODS} pods, and {alone:.1} s with none");
    }
    let left = items(&trial, "pods -l app=many")?.len();
    if left != PODS {
        bail!("{} pods that were not the host's are gone", PODS - left);
    }
    // What lists Nodes and pods for a person has all of them, too.
    let status = trial.me("slicer-k3s status --output json")?;
    if !status.stdout.contains("far-7") {
        bail!("status does not list the Nodes:\n{}", status.text());
    }
    Ok(())
}

/// Takes the host out and in again; the best of its drains, in seconds.
fn drain(trial: &Trial) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        trial
            .root("k3s-cp-1", NODE)?
            .expect(0)
            .context("the Node")?;
        let removed = trial.me(REMOVE)?.expect(0).context("remove-host")?;
        best = best.min(seconds(&removed.stdout)?);
        if !items(trial, &format!("nodes -l slicer/hostgroup={GROUP}"))?.is_empty() {
            bail!("the group's Node is left");
        }
        trial
            .me(ADD)?
            .expect(0)
            .with_context(|| format!("{HOST} comes back"))?;
    }
    Ok(best)
}

/// How long the drain took, by its event.
fn seconds(events: &str) -> Result<f64> {
    let events = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let step = format!("nodes-drained/{GROUP}");
    let mut ended =
        events.filter(|event| event["type"] == "step-ended" && event["step"] == step.as_str());
    let ended = ended
        .next()
        .with_context(|| format!("no event of {step}"))?;
    ended["seconds"].as_f64().context("its seconds")
}
