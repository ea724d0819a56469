//! `status` every two seconds while six agents come and go: what is on its way is never called wrong.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, items};
use crate::place::Place;
use crate::say;

/// Six pods, each on an agent of its own, of which it takes most.
const SIX: &str = r#"slicer-k3s kubectl apply -f - <<'END'
{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "six"}, "spec": {
  "replicas": 6, "selector": {"matchLabels": {"app": "six"}},
  "template": {"metadata": {"labels": {"app": "six"}}, "spec": {
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "six", "image": "busybox", "command": ["sleep", "100000"], "resources": {"requests": {"cpu": "1200m"}}}],
    "affinity": {
      "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "slicer/hostgroup", "operator": "Exists"}]}]}},
      "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "six"}}}]}}}}}}
END"#;

const EVERY: Duration = Duration::from_secs(2);

/// Six VMs that install k3s at once share this machine's processors.
const COMING: Duration = Duration::from_mins(8);

/// What the autoscaler removes, it removes a few at a time.
const GOING: Duration = Duration::from_mins(8);

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-scaling", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    let mut words = Words::default();
    words.listen(&trial).context("before")?;
    trial.me(SIX)?.expect(0)?;
    words
        .until(&trial, COMING, || {
            let pods = items(&trial, "pods -l app=six")?;
            Ok(pods.len() == 6 && pods.iter().all(|pod| pod["status"]["phase"] == "Running"))
        })
        .context("0 to 6 agents")?;
    trial
        .me("slicer-k3s kubectl delete deployment six --now")?
        .expect(0)?;
    words
        .until(&trial, GOING, || {
            Ok(trial.vms()?.len() == 3 && items(&trial, "nodes")?.len() == 3)
        })
        .context("6 to 0 agents")?;
    words.listen(&trial).context("afterwards")?;
    say::line(format_args!("  status was asked {} times", words.asked));
    for remark in &words.remarks {
        say::line(format_args!("  remark: {remark}"));
    }
    Ok(())
}

/// What `status` said.
#[derive(Default)]
struct Words {
    asked: u32,
    /// Each kind of remark once, with its first text.
    remarks: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Words {
    fn until(
        &mut self,
        trial: &Trial,
        limit: Duration,
        reached: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        let begin = Instant::now();
        while !reached()? {
            if begin.elapsed() > limit {
                bail!("not within {} s", limit.as_secs());
            }
            let asked = Instant::now();
            self.listen(trial)?;
            std::thread::sleep(EVERY.saturating_sub(asked.elapsed()));
        }
        let seconds = begin.elapsed().as_secs_f64();
        say::line(format_args!("  reached after {seconds:.0} s"));
        Ok(())
    }

    /// Exit code 0 and no drift.
    fn listen(&mut self, trial: &Trial) -> Result<()> {
        let done = trial.me("slicer-k3s status --output json")?;
        let document: Value = serde_json::from_str(&done.stdout)
            .with_context(|| format!("no document: {}", done.text()))?;
        self.asked += 1;
        let drift = document["drift"].as_array().context("no drift")?;
        if done.status != 0 || !drift.is_empty() {
            bail!("exit code {}, told: {drift:#?}", done.status);
        }
        for remark in document["remarks"].as_array().into_iter().flatten() {
            let kind = remark["kind"].as_str().unwrap_or_default().to_owned();
            if self.kinds.insert(kind) {
                self.remarks.insert(remark.to_string());
            }
        }
        Ok(())
    }
}
