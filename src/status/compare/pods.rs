//! Pods that have waited longer than a new agent takes to come.

use serde_json::Value;

use super::add;
use crate::status::document::Drift;
use crate::status::gather::Observed;
use crate::time;

/// A new agent is there within this time, and an image pulled.
const COMING: i64 = 300;

/// Tells the pod that has waited longest, with Kubernetes' own reason.
pub(super) fn waiting(seen: &Observed, drift: &mut Vec<Drift>) {
    let Ok(cluster) = &seen.cluster else { return };
    let Some(now) = cluster.clock else { return };
    let since = |pod: &Value| time::unix(pod["metadata"]["creationTimestamp"].as_str()?);
    let mut long: Vec<(i64, &Value)> = cluster
        .pending
        .iter()
        .filter_map(|pod| Some((since(pod)?, pod)))
        .filter(|(since, _)| now.saturating_sub(*since) > COMING)
        .collect();
    long.sort_by_key(|(since, _)| *since);
    let Some((since, pod)) = long.first() else {
        return;
    };
    let part = |key: &str| pod["metadata"][key].as_str().unwrap_or("?");
    let (namespace, name) = (part("namespace"), part("name"));
    let others = match long.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let minutes = now.saturating_sub(*since) / 60;
    let mut what = format!("pod {namespace}/{name}{others} has waited for {minutes} min");
    if let Some(why) = reason(pod) {
        what = format!("{what}: {why}");
    }
    let mend = format!("slicer-k3s kubectl describe pod -n {namespace} {name}");
    add(drift, "pods-pending", "cluster", what, mend);
}

/// Why a pod waits: for a place, or for a container of its own.
fn reason(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut unplaced = conditions.filter(|condition| condition["type"] == "PodScheduled");
    let unplaced = unplaced.find_map(|condition| condition["message"].as_str());
    let mut containers = status["containerStatuses"].as_array().into_iter().flatten();
    let stuck = containers.find_map(|container| container["state"]["waiting"]["reason"].as_str());
    unplaced.or(stuck).map(str::to_owned)
}
