//! An agent that runs somebody's pod.

use anyhow::{Context as _, Result, bail};

use super::super::super::trial::Trial;
use super::super::{items, pod_runs};

/// A pod that only an agent may run, and that nobody moves to save an agent.
const SLEEP: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  replicas: 1
  selector: {matchLabels: {app: sleep}}
  template:
    metadata:
      labels: {app: sleep}
      annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: "false"}
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

/// An agent with the pod that it runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AgentAtWork {
    pub(super) vm: String,
    /// When its VM was booted.
    boot: String,
    /// What Kubernetes knows its Node by.
    node: String,
    /// The same of the pod, and how often its container was restarted.
    pod: (String, String),
}

impl AgentAtWork {
    /// The autoscaler makes one for the pod.
    pub(super) fn made(trial: &Trial) -> Result<Self> {
        trial.put_mine("sleep.yaml", "0644", SLEEP)?;
        trial
            .me("slicer-k3s kubectl apply -f sleep.yaml")?
            .expect(0)?;
        pod_runs(trial, "sleep")?;
        Self::now(trial)
    }

    /// The one that runs the pod now.
    pub(super) fn now(trial: &Trial) -> Result<Self> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let pods = items(trial, "pods -l app=sleep")?;
        let [pod] = &*pods else {
            bail!("{} pods instead of one", pods.len());
        };
        if pod["status"]["phase"] != "Running" || !pod["metadata"]["deletionTimestamp"].is_null() {
            bail!("its pod does not run: {}", pod["status"]);
        }
        let on = text(&pod["spec"]["nodeName"]);
        let nodes = items(trial, "nodes")?;
        let node = nodes.iter().find(|node| node["metadata"]["name"] == *on);
        let node = &node.with_context(|| format!("there is no Node {on}"))?["metadata"];
        let vm = text(&node["labels"]["slicer/hostname"]);
        let boot = trial.root(&vm, "stat -c %Y /proc/1")?.expect(0)?.stdout;
        let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
        Ok(Self {
            boot,
            node: text(&node["uid"]),
            pod: (text(&pod["metadata"]["uid"]), restarts.to_string()),
            vm,
        })
    }

    /// It is still the same VM and the same Node, Ready, and the same pod has run on it without an end.
    pub(super) fn stays(&self, trial: &Trial) -> Result<()> {
        self.ready(trial)?;
        let now = Self::now(trial)?;
        if now != *self {
            bail!("the agent did not stay: before {self:?}, now {now:?}");
        }
        Ok(())
    }

    /// Whether it is the VM, the Node or the pod of this one, as each was made or booted once.
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        let vm = |agent: &Self| (agent.vm.clone(), agent.boot.clone());
        vm(self) == vm(other) || self.node == other.node || self.pod.0 == other.pod.0
    }

    /// The same after its service has been restarted.
    pub(super) fn survives(&self, trial: &Trial) -> Result<()> {
        let restart = "systemctl restart k3s-agent && sleep 5 && systemctl is-active k3s-agent";
        trial
            .root(&self.vm, restart)?
            .expect(0)
            .with_context(|| format!("{} did not survive the restart of its service", self.vm))?;
        self.stays(trial)
    }

    fn ready(&self, trial: &Trial) -> Result<()> {
        let wait = format!(
            "slicer-k3s kubectl wait --for=condition=Ready --timeout=120s node -l slicer/hostname={}",
            self.vm
        );
        let done = trial.me(&wait)?.expect(0);
        done.with_context(|| format!("the agent {} is not Ready", self.vm))
            .map(drop)
    }
}
