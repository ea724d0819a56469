//! The cluster remembers which groups were proven, in which form, so that a second run need not prove them again; and
//! which proof was begun, so that the run after a killed one knows what that one may have left.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::NAMESPACE;
use crate::names::ours::PROOF_RECORD;
use crate::pipeline::WritePermit;
use crate::steps::proof::ProofRun;

/// The command that shows it.
pub(crate) fn hint() -> String {
    format!("slicer-k3s kubectl get configmap -n {NAMESPACE} {PROOF_RECORD} -o yaml")
}

/// The key under which a group's begun proof is noted: the VMs that were there before it.
fn begun_key(group: &str) -> String {
    format!("{group}.begun")
}

/// What is on record of all groups.
async fn data(kubernetes: &Kubernetes) -> Result<Value> {
    let mut record = kubernetes
        .get(&["configmap", "-n", NAMESPACE, PROOF_RECORD])
        .await?
        .unwrap_or_default();
    Ok(record["data"].take())
}

/// Whether this very proof is on record.
pub(crate) async fn read(kubernetes: &Kubernetes, trial: &ProofRun) -> Result<bool> {
    Ok(data(kubernetes).await?[&trial.daemon.group] == trial.fingerprint.as_str())
}

/// The VMs before the group's proof that was begun and did not end, if there is one.
pub(crate) async fn begun(
    kubernetes: &Kubernetes,
    group: &str,
) -> Result<Option<BTreeSet<String>>> {
    let data = data(kubernetes).await?;
    let before = data[begun_key(group)].as_str();
    Ok(before.map(|before| before.split_whitespace().map(str::to_owned).collect()))
}

/// Notes that a proof begins.
pub(crate) async fn begin(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    group: &str,
    before: &BTreeSet<String>,
) -> Result<()> {
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let data = json!({begun_key(group): before.join(" ")});
    kubernetes
        .merge_config_map(permit, NAMESPACE, PROOF_RECORD, &data)
        .await
}

/// Forgets a proof that was begun: nothing of it is left.
pub(crate) async fn forget(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    group: &str,
) -> Result<()> {
    let data = json!({begun_key(group): null});
    kubernetes
        .merge_config_map(permit, NAMESPACE, PROOF_RECORD, &data)
        .await
}

/// Notes that this very proof stands. A merge, not an apply: server-side apply by one owner would drop the other
/// groups' keys.
pub(crate) async fn remember(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    trial: &ProofRun,
) -> Result<()> {
    let data = json!({
        &trial.daemon.group: trial.fingerprint,
        begun_key(&trial.daemon.group): null,
    });
    kubernetes
        .merge_config_map(permit, NAMESPACE, PROOF_RECORD, &data)
        .await
}

/// Whether anything is on record of a group.
pub(crate) async fn knows(kubernetes: &Kubernetes, group: &str) -> Result<bool> {
    let data = data(kubernetes).await?;
    Ok(data[group].is_string() || data[begun_key(group)].is_string())
}

/// Forgets the group: one that is made again under its name is another one.
pub(crate) async fn discard(
    kubernetes: &Kubernetes,
    permit: &WritePermit,
    group: &str,
) -> Result<()> {
    let data = json!({group: null, begun_key(group): null});
    kubernetes
        .merge_config_map(permit, NAMESPACE, PROOF_RECORD, &data)
        .await
}
