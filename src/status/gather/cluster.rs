//! What the cluster itself says: every server's API, and what Kubernetes lists.

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Asked, answer};
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::{Kubernetes, condition};
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::names::k3s::CERTIFICATE_MONITOR;
use crate::names::kubernetes::{DEFAULT_NAMESPACE, TRUE};
use crate::plan::Server;
use crate::steps;
use crate::world::World;

/// What Kubernetes lists.
pub struct Cluster {
    /// Nodes.
    pub nodes: Vec<Value>,
    /// Pods that wait: all of the one that waits longest, of the others the metadata.
    pub pending: Vec<Value>,
    /// Whether the autoscaler is available, where it is deployed.
    pub autoscaler: Option<bool>,
    /// The groups that the autoscaler's configuration names.
    pub scaled: Vec<String>,
    /// Events of k3s about Nodes' certificates, of the last hour.
    pub certificates: Vec<Value>,
    /// The time in seconds since 1970 by the clock of the server that answered, where it says.
    pub clock: Option<i64>,
}

/// Every server's own API, and from whichever is ready first what Kubernetes lists.
pub(super) async fn cluster(
    asked: &Asked<'_>,
    world: &World,
) -> (Vec<(String, Result<(), String>)>, Result<Cluster, String>) {
    let (found, mut ready) = mpsc::unbounded_channel();
    let waiting = asked.waiting;
    let asked = world.plan.servers.iter().map(|server| {
        let found = found.clone();
        async move {
            let ready = answer(waiting, &server.name, async {
                let machine = world.server(server).await?.clone();
                let ready = Kubernetes::on(machine).ready().await?;
                ready.map_err(|why| Failure::new(Code::K3sStart, why))
            })
            .await;
            if ready.is_ok() {
                // Nobody listens any more once there is a list.
                let _ = found.send(server);
            }
            (server.name.clone(), ready)
        }
    });
    let asked = join_all(asked.collect::<Vec<_>>());
    drop(found);
    let listed = async {
        let mut last = "no server's API is ready".to_owned();
        while let Some(server) = ready.recv().await {
            let listed = Box::pin(answer(waiting, &server.name, list(world, server)));
            match listed.await {
                Ok(cluster) => return Ok(cluster),
                Err(why) => last = why,
            }
        }
        Err(last)
    };
    tokio::join!(asked, listed)
}

async fn list(world: &World, server: &Server) -> Result<Cluster> {
    let server = world.server(server).await?.clone();
    let kubernetes = Kubernetes::on(server);
    let deployment = ["deployment", "-n", NAMESPACE, AUTOSCALER];
    let monitor = format!("source={CERTIFICATE_MONITOR}");
    let certificates = [
        "events",
        "-n",
        DEFAULT_NAMESPACE,
        "--field-selector",
        &monitor,
    ];
    let (nodes, pending, deployment, certificates, scaled, clock) = tokio::try_join!(
        kubernetes.list(&["nodes"]),
        waiting(&kubernetes),
        kubernetes.get(&deployment),
        kubernetes.list(&certificates),
        steps::scaled_groups(&kubernetes),
        async { Ok(steps::clock(&kubernetes.server).await.ok()) }
    )?;
    Ok(Cluster {
        nodes,
        pending,
        autoscaler: deployment.as_ref().map(runs),
        scaled,
        certificates,
        clock,
    })
}

/// Pods that wait, by their metadata: there may be any number. Of the one that waits longest all is told, with the reason.
async fn waiting(kubernetes: &Kubernetes) -> Result<Vec<Value>> {
    let pending = ["pods", "-A", "--field-selector", "status.phase=Pending"];
    let mut pods = kubernetes.list_metadata(&pending).await?;
    let made = |pod: &Value| {
        let made = pod["metadata"]["creationTimestamp"].as_str();
        made.unwrap_or_default().to_owned()
    };
    if let Some(longest) = pods.iter_mut().min_by_key(|pod| made(pod)) {
        let part = |key: &str| longest["metadata"][key].as_str().unwrap_or_default();
        let words = ["pods", "-n", part("namespace"), part("name")];
        if let Ok(Some(whole)) = kubernetes.get(&words).await {
            *longest = whole;
        }
    }
    Ok(pods)
}

/// Whether a Deployment runs. `Available` is also true of one that asks for no pod.
fn runs(deployment: &Value) -> bool {
    let ready = &deployment["status"]["readyReplicas"];
    condition(deployment, "Available") == Some(TRUE)
        && ready.as_u64().is_some_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{Fake, machine};

    /// Stopped for a drain that failed, it was reported as running with 0 of 0 pods.
    #[test]
    fn an_autoscaler_without_pods_does_not_run() {
        for (ready, running) in [(Some(1), true), (Some(0), false), (None, false)] {
            let deployment = serde_json::json!({
                "spec": {"replicas": ready.unwrap_or(0)},
                "status": {
                    "conditions": [{"type": "Available", "status": "True"}],
                    "readyReplicas": ready,
                },
            });
            assert_eq!(runs(&deployment), running, "{ready:?}");
        }
    }

    /// Of 20 000 pods that wait only one is told with its reason, and only that one is asked for whole.
    #[tokio::test]
    async fn of_the_pods_that_wait_the_longest_is_told_whole() {
        let pod = |name: &str, made: &str, more: &str| {
            format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"a","creationTimestamp":"{made}"}}{more}}}"#
            )
        };
        let (new, old) = (pod("new", "2026-02-02", ""), pod("old", "2026-01-01", ""));
        let list = format!(r#"{{"kind":"List","metadata":{{}},"items":[{new},{old}]}}"#);
        let whole = pod("old", "2026-01-01", r#","status":{"phase":"Pending"}"#);
        let fake = Fake::new()
            .says("/namespaces/a/pods/old", &whole)
            .says("Pending", &list);
        let kubernetes = Kubernetes::on(Arc::new(machine("k3s-cp-1", fake)));
        let pods = waiting(&kubernetes).await.unwrap();
        assert_eq!(pods.len(), 2);
        assert!(pods[0]["status"].is_null());
        assert_eq!(pods[1]["status"]["phase"], "Pending");
    }
}
