//! The cluster's API, asked and told on a server: no route and no client of our own.

mod names;
mod path;
mod pod;
mod words;

pub(crate) use names::control_plane;
pub use names::{
    ADDON_API, CONTROL_PLANE, DAEMON_SET, DEFAULT_NAMESPACE, HELM_API, HELM_CHART, JOB_NAME,
    MIRROR, OVER, READY, SYSTEM_NAMESPACE, TRUE,
};
pub use pod::{selector, waiting};
pub use words::bounded;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::deletion::DeletableObject;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::Hands;
use crate::remote::{Look, Machine, Output, Script};
use words::{cause, unready};

/// Who owns the fields that we write.
const FIELD_MANAGER: &str = "slicer-k3s";

/// The code of an API server that has too much to do, or that is just taking a changed kind into use (`storage is
/// (re)initializing`): it asks to come again in a second.
///
/// Source: kubernetes/apiextensions-apiserver `pkg/apiserver/customresource_handler.go`.
const BUSY: u16 = 429;
const BUSY_TRIES: u32 = 3;
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// kubectl on one server.
pub struct Kubernetes {
    /// The server.
    pub server: Arc<Machine>,
}

impl Kubernetes {
    /// One object, or `None` where it does not exist: `words` are `get`'s, such as `["node", "cp-1"]`.
    pub async fn get(&self, words: &[&str]) -> Result<Option<Value>> {
        let look = Look::Kubernetes {
            path: path::path(words),
            words: words
                .iter()
                .chain(&["-o", "json", "--ignore-not-found"])
                .map(|word| (*word).to_owned())
                .collect(),
        };
        let mut tries = 0;
        loop {
            let answer = self.answer(&look).await?;
            let busy = answer
                .as_ref()
                .is_some_and(|answer| answer["kind"] == "Status" && answer["code"] == BUSY);
            tries += 1;
            if !busy || tries == BUSY_TRIES {
                return self.object(answer);
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    async fn answer(&self, look: &Look) -> Result<Option<Value>> {
        let output = self.server.look(look).await?;
        if !output.ok() {
            return Err(self.refused("get", &output));
        }
        if output.stdout.trim().is_empty() {
            return Ok(None);
        }
        let answer: Value = serde_json::from_str(&output.stdout).map_err(|_| {
            Failure::new(
                Code::Kubernetes,
                format!("the API on {} does not answer yet", self.server.name()),
            )
            .because(cause(&output))
        })?;
        Ok(Some(answer))
    }

    /// The API's refusals are objects of their own.
    fn object(&self, answer: Option<Value>) -> Result<Option<Value>> {
        let Some(answer) = answer else {
            return Ok(None);
        };
        if answer["kind"] == "Status" && answer["status"] == "Failure" {
            return match answer["code"].as_u64() {
                Some(404) => Ok(None),
                _ => Err(Failure::new(
                    Code::Kubernetes,
                    format!("the API on {} refused", self.server.name()),
                )
                .because(answer["message"].as_str().unwrap_or("it gave no reason"))),
            };
        }
        Ok(Some(answer))
    }

    /// The items of a list.
    pub async fn list(&self, words: &[&str]) -> Result<Vec<Value>> {
        let list = self.get(words).await?.unwrap_or_default();
        Ok(match list.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => Vec::new(),
        })
    }

    /// The items of a list that is whole. An answer that is none, or only part of the list, is a failure and not an empty
    /// list: what is deleted because it is not in a list goes by this one.
    pub async fn list_whole(&self, words: &[&str]) -> Result<Vec<Value>> {
        let list = self.get(words).await?.unwrap_or_default();
        let more = list["metadata"]["continue"].as_str().unwrap_or_default();
        match &list["items"] {
            Value::Array(items) if more.is_empty() => Ok(items.clone()),
            _ => Err(Failure::new(
                Code::Kubernetes,
                format!(
                    "the API on {} did not list all {}",
                    self.server.name(),
                    words.first().copied().unwrap_or_default()
                ),
            )),
        }
    }

    /// Whether this server's own API says that it is ready; the reason where it does not.
    pub async fn ready(&self) -> Result<Result<(), String>> {
        let look = Look::Kubernetes {
            path: Some("/readyz".to_owned()),
            words: vec![
                "--raw=/readyz".to_owned(),
                "--request-timeout=5s".to_owned(),
            ],
        };
        let output = self.server.look(&look).await?;
        if output.ok() && output.stdout.trim() == "ok" {
            Ok(Ok(()))
        } else {
            Ok(Err(unready(&output)))
        }
    }

    /// Makes an object so, whether it exists or not; the object travels by stdin.
    pub async fn apply(&self, hands: &Hands, object: &Value) -> Result<()> {
        let script = Script::new(
            "k3s kubectl apply --server-side --force-conflicts --field-manager {} -f -",
            &[FIELD_MANAGER],
        )
        .stdin(object.to_string());
        self.must(hands, "apply", &script).await
    }

    /// Sets keys of a ConfigMap, which is made where missing; other keys stay.
    pub async fn merge_config_map(
        &self,
        hands: &Hands,
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
        self.must(hands, "patch", &script).await
    }

    /// Merges `patch` into an object that exists; other fields stay, and `null` takes a field away.
    pub async fn patch(
        &self,
        hands: &Hands,
        namespace: &str,
        object: &str,
        patch: &Value,
    ) -> Result<()> {
        let script = Script::new(
            "k3s kubectl patch -n {} {} --type merge -p {}",
            &[namespace, object, &patch.to_string()],
        );
        self.must(hands, "patch", &script).await
    }

    /// Deletes what a rule lets go, without waiting; what does not exist is no failure.
    pub async fn delete(&self, hands: &Hands, object: &DeletableObject) -> Result<()> {
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
        self.must(hands, "delete", &script).await
    }

    /// Restarts a workload's pods, as after a change that they only read at start.
    pub async fn restart(&self, hands: &Hands, namespace: &str, workload: &str) -> Result<()> {
        let script = Script::words([
            "k3s", "kubectl", "rollout", "restart", "-n", namespace, workload,
        ]);
        self.must(hands, "rollout restart", &script).await
    }

    /// Gives a Deployment this many pods, and waits a while until it has them.
    pub async fn scale(
        &self,
        hands: &Hands,
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
        self.must(hands, "scale", &script).await
    }

    /// Lets pods run on a Node again, and takes off the label of whoever closed it.
    pub async fn reopen(&self, hands: &Hands, node: &str, label: &str) -> Result<()> {
        let gone = format!("{label}-");
        let script = Script::new(
            "k3s kubectl uncordon {} && k3s kubectl label node {} {}",
            &[node, node, &gone],
        );
        self.must(hands, "uncordon", &script).await
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
        let path = path::log(namespace, pod, lines, previous);
        let look = Look::Kubernetes {
            words: vec![format!("--raw={path}")],
            path: Some(path),
        };
        let output = self.server.look(&look).await?;
        // The API tells that there is none yet as an object of its own.
        let refusal = serde_json::from_str::<Value>(&output.stdout);
        if !output.ok() || refusal.is_ok_and(|answer| answer["kind"] == "Status") {
            return Ok(String::new());
        }
        Ok(output.stdout)
    }

    /// Sets a taint of a Node (`KEY=VALUE:EFFECT`), or removes it.
    pub async fn taint(&self, hands: &Hands, node: &str, taint: &str, set: bool) -> Result<()> {
        let word = format!("{taint}{}", if set { "" } else { "-" });
        let script = Script::new("k3s kubectl taint --overwrite node {} {}", &[node, &word]);
        self.must(hands, "taint", &script).await
    }

    async fn must(&self, hands: &Hands, verb: &str, script: &Script) -> Result<()> {
        let output = self.server.run(hands, script).await?;
        if output.ok() {
            Ok(())
        } else {
            Err(self.refused(verb, &output))
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
    use crate::steps::testing::{Fake, world};
    use serde_json::json;

    fn world_of(fake: &Fake) -> crate::world::World {
        world(&[("k3s-cp-1", fake)])
    }

    /// Else `status` would call a cluster wrong whose API server is taking a kind into use.
    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_asks_to_come_again_is_asked_again() {
        const LATER: &str = r#"{"kind":"Status","status":"Failure","message":"storage is (re)initializing","code":429}"#;
        let fake = Fake::new()
            .says_first("get node", LATER)
            .says_first("get node", LATER)
            .says("get node", r#"{"kind":"Node"}"#);
        let answered = world_of(&fake);
        let kubernetes = answered.kubernetes().await.unwrap();
        let node = kubernetes.get(&["node", "a"]).await.unwrap();
        assert_eq!(node.unwrap()["kind"], "Node");
        let fake = Fake::new().says("get node", LATER);
        let refused = world_of(&fake);
        let kubernetes = refused.kubernetes().await.unwrap();
        let failure = kubernetes.get(&["node", "a"]).await.unwrap_err();
        assert!(failure.to_string().contains("initializing"), "{failure}");
    }

    #[test]
    fn a_condition_is_found_by_type() {
        let node = json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        assert_eq!(condition(&node, "Ready"), Some("True"));
        assert_eq!(condition(&node, "EtcdIsVoter"), None);
        assert_eq!(condition(&json!({}), "Ready"), None);
    }
}
