//! The pods of a proof.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::deletion::{DeletableObject, GroupNode};
use crate::failure::{Code, Failure, Result};
use crate::k3s::addons::TRAEFIK_CHARTS;
use crate::kubernetes::{Kubernetes, condition};
use crate::names::autoscaler::GROUP_LABEL;
use crate::names::k3s::PAUSE_IMAGE;
use crate::names::kubernetes::{
    DAEMON_SET, DEFAULT_NAMESPACE, HELM_CHART, OVER, READY, SYSTEM_NAMESPACE, TRUE,
};
use crate::names::ours::PROOF_LABEL;
use crate::pipeline::WritePermit;
use crate::steps::proof::ProofRun;

/// Who the pods run as: a user that owns nothing. pause does nothing that another one could not.
const NOBODY: u32 = 65534;

/// Where the pods run.
pub(crate) const NAMESPACE: &str = DEFAULT_NAMESPACE;

/// The proof's pods of a group.
pub(crate) async fn list(kubernetes: &Kubernetes, group: &str) -> Result<Vec<Value>> {
    let selector = format!("{PROOF_LABEL}={group}");
    kubernetes
        .list(&["pods", "-n", NAMESPACE, "-l", &selector])
        .await
}

/// A pod that keeps a Node, as `NAMESPACE/NAME`: one that would run elsewhere without it, so neither a `DaemonSet`'s nor
/// a proof's.
pub(crate) async fn blocking_pod(kubernetes: &Kubernetes, node: &str) -> Result<Option<String>> {
    let selector = format!("spec.nodeName={node}");
    let pods = kubernetes
        .list(&["pods", "-A", "--field-selector", &selector])
        .await?;
    let keeps = |pod: &&Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let of_every_node =
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == DAEMON_SET));
        let of_a_proof = pod["metadata"]["labels"].get(PROOF_LABEL).is_some();
        !of_every_node && !of_a_proof && !is_over(pod)
    };
    Ok(pods.iter().find(keeps).map(name))
}

/// Whether a pod is Traefik's install job at its first try: that ends by itself in a moment.
fn installs(pod: &Value) -> bool {
    let chart = pod["metadata"]["labels"][HELM_CHART]
        .as_str()
        .unwrap_or_default();
    let mut containers = pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten();
    TRAEFIK_CHARTS.contains(&chart)
        && containers.all(|container| container["restartCount"].as_u64() == Some(0))
}

/// A job of k3s's own that installs Traefik, and waits for a Node or runs on one of `agents`. Where servers refuse ordinary pods,
/// such a job needs an agent, and the autoscaler believes for five minutes that the agent cannot be removed: a proof there would
/// wait for that long.
pub(crate) async fn installing(
    kubernetes: &Kubernetes,
    agents: &[GroupNode],
) -> Result<Option<String>> {
    let pods = kubernetes
        .list(&["pods", "-n", SYSTEM_NAMESPACE, "-l", HELM_CHART])
        .await?;
    let on_agents = |pod: &Value| match pod["spec"]["nodeName"].as_str() {
        None => true,
        Some(node) => agents.iter().any(|agent| agent.name == node),
    };
    let pod = pods
        .iter()
        .find(|pod| !is_over(pod) && installs(pod) && on_agents(pod));
    Ok(pod.map(name))
}

fn is_over(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    OVER.contains(&phase)
}

/// `NAMESPACE/NAME`.
fn name(pod: &Value) -> String {
    let word = |key: &str| pod["metadata"][key].as_str().unwrap_or("?");
    format!("{}/{}", word("namespace"), word("name"))
}

/// Deletes the proof's pods of a group, at once.
pub(crate) async fn delete(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    group: &str,
) -> Result<()> {
    remove(kubernetes, permit, group, true).await
}

/// The same; with their grace period unless `now`.
pub(crate) async fn remove(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    group: &str,
    now: bool,
) -> Result<()> {
    let pods =
        DeletableObject::pods_of_proof(NAMESPACE, PROOF_LABEL, group, now).ok_or_else(|| {
            let what = format!("{group} is no name of a group of ours");
            Failure::new(Code::Kubernetes, what).permanent()
        })?;
    kubernetes.delete(permit, &pods).await
}

/// Whether a pod runs.
pub(crate) fn runs(pod: &Value) -> bool {
    condition(pod, READY) == Some(TRUE) && pod["metadata"].get("deletionTimestamp").is_none()
}

/// Pods that only a new agent of the group can run: never one of `busy`, its Nodes of now. By Node name, since a new VM
/// may get the name of one that has just gone, and since the autoscaler's picture of a new Node has the VM label of an
/// existing one.
///
/// Each takes most of a VM: N pods need N VMs, and the autoscaler does not consider a Node that is well used for removal.
/// One that it did consider while the pod was there it would call unremovable, and believe that for five minutes (its
/// `--unremovable-node-recheck-timeout`), long after the pod is gone. Pods of a `full` group are small instead: they only
/// show that its agents run pods.
pub(crate) fn make(trial: &ProofRun, busy: &BTreeSet<String>, full: bool) -> Result<Value> {
    let group = &trial.daemon.group;
    // Names differ from run to run: what an earlier, killed one left may still be going away.
    let run = crate::secret::random_hex(3).map_err(|error| {
        crate::failure::Failure::new(crate::failure::Code::LocalFile, "no randomness")
            .because(error)
    })?;
    let affinity = if busy.is_empty() {
        json!({})
    } else {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": busy},
            ]}],
        }}})
    };
    let cpu = if full {
        "50m".to_owned()
    } else {
        format!("{}m", trial.daemon.cpu * 600)
    };
    let pods: Vec<Value> = (0..trial.wanted.pods)
        .map(|index| {
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": format!("proof-{group}-{}-{index}", run),
                    "namespace": NAMESPACE,
                    "labels": {PROOF_LABEL: group},
                },
                "spec": {
                    "nodeSelector": {GROUP_LABEL: group},
                    "affinity": affinity,
                    "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
                    "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": false,
                    "restartPolicy": "Never",
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": NOBODY, "runAsGroup": NOBODY,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "pause",
                        "image": PAUSE_IMAGE,
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                        },
                        "resources": {"requests": {"cpu": cpu, "memory": "50Mi"}},
                    }],
                },
            })
        })
        .collect();
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": pods}))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// k3s's CIS guide enforces `restricted`: a proof failed where its pods were refused.
    ///
    /// Source: kubernetes.io, concepts/security/pod-security-standards ("Restricted").
    #[test]
    fn pods_are_admitted_where_pod_security_is_restricted() {
        let list = make(&crate::steps::proof::trial(false), &BTreeSet::new(), false).unwrap();
        let spec = &list["items"][0]["spec"];
        let (pod, container) = (
            &spec["securityContext"],
            &spec["containers"][0]["securityContext"],
        );
        assert_eq!(pod["runAsNonRoot"], true);
        assert_ne!(pod["runAsUser"], 0);
        assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
        for key in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
            assert!(spec.get(key).is_none(), "{key}");
        }
    }

    /// A pod that an agent of before could run would prove nothing.
    #[test]
    fn pods_keep_off_the_agents_of_before() {
        let busy = BTreeSet::from(["k3s-agents-1-1-00ff00ff".to_owned()]);
        let list = make(&crate::steps::proof::trial(false), &busy, false).unwrap();
        let pods = list["items"].as_array().unwrap();
        assert_eq!(pods.len(), 2);
        let terms = &pods[0]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            ["nodeSelectorTerms"][0];
        assert_eq!(terms["matchExpressions"][0]["operator"], "NotIn");
        assert_eq!(
            terms["matchExpressions"][0]["values"],
            json!(["k3s-agents-1-1-00ff00ff"])
        );
        assert_eq!(
            terms["matchExpressions"][0]["key"],
            "kubernetes.io/hostname"
        );
        let requests = &pods[0]["spec"]["containers"][0]["resources"]["requests"];
        assert_eq!(requests["cpu"], "1200m", "more than half of a VM's 2 CPUs");
        assert_eq!(pods[0]["metadata"]["labels"][PROOF_LABEL], "k3s-agents-1");
        let free = make(&crate::steps::proof::trial(false), &BTreeSet::new(), true).unwrap();
        assert_eq!(free["items"][0]["spec"]["affinity"], json!({}));
    }
}
