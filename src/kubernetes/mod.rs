//! The cluster's API, asked and told on a server: no route and no client of our own.

mod ask;
mod path;
mod pod;
#[cfg(test)]
pub(crate) mod testing;
mod words;

pub use pod::{selector, waiting};
pub use words::bounded;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::deletion::DeletableObject;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::WritePermit;
use crate::remote::{Machine, Output, Probe, Script};
use words::{cause, unready};

/// Who owns the fields that we write.
const FIELD_MANAGER: &str = "slicer-k3s";

/// The cluster's API as one server serves it.
pub struct Kubernetes {
    /// The server.
    pub server: Arc<Machine>,
    /// Set as soon as this server's API fails: whoever chose it has reason to choose again.
    failed: Arc<AtomicBool>,
}

impl Kubernetes {
    /// On this server, whatever comes.
    pub fn on(server: Arc<Machine>) -> Self {
        Self::watched(server, Arc::default())
    }

    /// On this server; `failed` is set when its API fails.
    pub(crate) fn watched(server: Arc<Machine>, failed: Arc<AtomicBool>) -> Self {
        Self { server, failed }
    }

    /// Passes a failure on and notes that there was one.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Whether this server's own API says that it is ready; the reason where it does not.
    pub async fn ready(&self) -> Result<Result<(), String>> {
        let probe = Probe::Kubernetes {
            path: "/readyz".to_owned(),
            metadata: false,
        };
        let output = self.server.probe(&probe).await?;
        if output.ok() && output.stdout.trim() == "ok" {
            Ok(Ok(()))
        } else {
            Ok(Err(unready(&output)))
        }
    }

    /// Makes an object so, whether it exists or not; the object travels by stdin.
    pub async fn apply(&self, permit: &WritePermit, object: &Value) -> Result<()> {
        let script = Script::new(
            "k3s kubectl apply --server-side --force-conflicts --field-manager {} -f -",
            &[FIELD_MANAGER],
        )
        .stdin(object.to_string());
        self.must(permit, "apply", &script).await
    }

    /// Sets keys of a ConfigMap, which is made where missing; other keys stay.
    pub async fn merge_config_map(
        &self,
        permit: &WritePermit,
        namespace: &str,
        name: &str,
        data: &Value,
    ) -> Result<()> {
        let patch = serde_json::json!({"data": data}).to_string();
        let script = Script::new(
            "k3s kubectl create configmap -n {} {} 2>/dev/null; \
             k3s kubectl patch configmap -n {} {} --type merge -p {}",
            &[namespace, name, namespace, name, &patch],
        );
        self.must(permit, "patch", &script).await
    }

    /// Merges `patch` into an object that exists; other fields stay, and `null` takes a field away.
    pub async fn patch(
        &self,
        permit: &WritePermit,
        namespace: &str,
        object: &str,
        patch: &Value,
    ) -> Result<()> {
        let script = Script::new(
            "k3s kubectl patch -n {} {} --type merge -p {}",
            &[namespace, object, &patch.to_string()],
        );
        self.must(permit, "patch", &script).await
    }

    /// Deletes what a rule lets go, without waiting; what does not exist is no failure.
    pub async fn delete(&self, permit: &WritePermit, object: &DeletableObject) -> Result<()> {
        let script = Script::words(
            [
                "k3s",
                "kubectl",
                "delete",
                "--ignore-not-found",
                "--wait=false",
            ]
            .into_iter()
            .chain(object.words()),
        );
        self.must(permit, "delete", &script).await
    }

    /// Restarts a workload's pods, as after a change that they only read at start.
    pub async fn restart(
        &self,
        permit: &WritePermit,
        namespace: &str,
        workload: &str,
    ) -> Result<()> {
        let script = Script::words([
            "k3s", "kubectl", "rollout", "restart", "-n", namespace, workload,
        ]);
        self.must(permit, "rollout restart", &script).await
    }

    /// Gives a Deployment this many pods, and waits a while until it has them.
    pub async fn scale(
        &self,
        permit: &WritePermit,
        namespace: &str,
        deployment: &str,
        pods: u32,
    ) -> Result<()> {
        let pods = pods.to_string();
        let script = Script::new(
            "k3s kubectl scale -n {} deployment {} --replicas {} || exit
             k3s kubectl rollout status -n {} deployment {} --timeout 20s >/dev/null || true",
            &[namespace, deployment, &pods, namespace, deployment],
        );
        self.must(permit, "scale", &script).await
    }

    /// Lets pods run on a Node again, and takes off the label of whoever closed it.
    pub async fn uncordon(&self, permit: &WritePermit, node: &str, label: &str) -> Result<()> {
        let gone = format!("{label}-");
        let script = Script::new(
            "k3s kubectl uncordon {} && k3s kubectl label node {} {}",
            &[node, node, &gone],
        );
        self.must(permit, "uncordon", &script).await
    }

    /// The last lines that a pod logged; empty where it has not begun. `previous`: those of its container before the last
    /// restart.
    pub async fn log(
        &self,
        namespace: &str,
        pod: &str,
        lines: u32,
        previous: bool,
    ) -> Result<String> {
        let probe = Probe::Kubernetes {
            path: path::log(namespace, pod, lines, previous),
            metadata: false,
        };
        let output = self.noted(self.server.probe(&probe).await)?;
        // The API tells that there is none yet as an object of its own.
        let refusal = serde_json::from_str::<Value>(&output.stdout);
        if !output.ok() || refusal.is_ok_and(|answer| answer["kind"] == "Status") {
            return Ok(String::new());
        }
        Ok(output.stdout)
    }

    /// Sets a taint of a Node (`KEY=VALUE:EFFECT`), or removes it.
    pub async fn taint(
        &self,
        permit: &WritePermit,
        node: &str,
        taint: &str,
        set: bool,
    ) -> Result<()> {
        let word = format!("{taint}{}", if set { "" } else { "-" });
        let script = Script::new("k3s kubectl taint --overwrite node {} {}", &[node, &word]);
        self.must(permit, "taint", &script).await
    }

    async fn must(&self, permit: &WritePermit, verb: &str, script: &Script) -> Result<()> {
        let output = self.noted(self.server.run(permit, script).await)?;
        if output.ok() {
            Ok(())
        } else {
            self.noted(Err(self.refused(verb, &output)))
        }
    }

    fn refused(&self, verb: &str, output: &Output) -> Failure {
        Failure::new(
            Code::Kubernetes,
            format!("kubectl {verb} failed on {}", self.server.name()),
        )
        .because(cause(output))
        .hint(format!(
            "on {}: sudo k3s kubectl get --raw='/readyz?verbose'",
            self.server.name()
        ))
    }
}

/// The status of one of an object's conditions: `True`, `False`, `Unknown`, or `None` where it has none of that type.
pub fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v str> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)?["status"]
        .as_str()
}

/// Whether a Node has a taint in this very form, `KEY=VALUE:EFFECT`.
pub fn has_taint(node: &Value, taint: &str) -> bool {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut texts = taints.map(|taint| {
        let part = |name: &str| taint[name].as_str().unwrap_or_default();
        format!("{}={}:{}", part("key"), part("value"), part("effect"))
    });
    texts.any(|text| text == taint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_is_found_by_type() {
        let node = json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        assert_eq!(condition(&node, "Ready"), Some("True"));
        assert_eq!(condition(&node, "EtcdIsVoter"), None);
        assert_eq!(condition(&json!({}), "Ready"), None);
    }
}
