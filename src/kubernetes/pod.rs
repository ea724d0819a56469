//! Why a pod does not run.

use serde_json::Value;

use super::Kubernetes;
use super::words::bounded;
use crate::failure::Result;

/// What the kubelet says once it has got over what it warned of before.
///
/// Source: kubernetes/kubernetes pkg/kubelet/events/event.go.
const GOES_ON: [&str; 4] = ["Pulling", "Pulled", "Created", "Started"];

/// Warnings that only name the state in which an earlier one, with the reason, has left the container.
///
/// Source: kubernetes/kubernetes pkg/kubelet/images/types.go (`ErrImagePull`, `ErrImagePullBackOff`), pkg/kubelet/kuberuntime.
const EMPTY: [&str; 2] = ["Error: ErrImagePull", "Error: ImagePullBackOff"];

impl Kubernetes {
    /// Why a pod that has not logged anything does not run: its last warning, else what its container waits for; `None` where
    /// nothing is said.
    pub async fn stuck(&self, namespace: &str, pod: &Value) -> Result<Option<String>> {
        let selector = match (&pod["metadata"]["uid"], &pod["metadata"]["name"]) {
            (Value::String(uid), _) => format!("involvedObject.uid={uid}"),
            (_, Value::String(name)) => format!("involvedObject.name={name}"),
            _ => return Ok(waiting(pod).map(bounded)),
        };
        let words = ["events", "-n", namespace, "--field-selector", &selector];
        let events = self.list(&words).await?;
        Ok(warning(&events).or_else(|| waiting(pod).map(bounded)))
    }
}

/// `key=value,…` of a Deployment's selector.
pub fn selector(deployment: &Value) -> String {
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect::<Vec<_>>()
        .join(",")
}

/// Why a pod does not run, in Kubernetes' words; `None` where it says nothing.
pub fn waiting(pod: &Value) -> Option<&str> {
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let scheduled = pod["status"]["conditions"].as_array().and_then(|all| {
        all.iter()
            .find(|condition| condition["type"] == "PodScheduled")
    });
    [&waiting["message"], &waiting["reason"]]
        .into_iter()
        .chain(scheduled.map(|condition| &condition["message"]))
        .find_map(Value::as_str)
}

/// The last warning among a pod's events, unless the pod has got on since.
fn warning(events: &[Value]) -> Option<String> {
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| when(event));
    let part = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let last = events
        .iter()
        .rfind(|event| event["type"] == "Warning" && !EMPTY.contains(&&*part(event, "message")))?;
    let since = |event: &&&Value| when(event) > when(last);
    let goes_on = |event: &&Value| GOES_ON.contains(&&*part(event, "reason"));
    if events.iter().filter(since).any(goes_on) {
        return None;
    }
    let (reason, message) = (part(last, "reason"), part(last, "message"));
    Some(bounded(&format!("{reason}: {message}")))
}

/// When an event was seen last.
fn when(event: &Value) -> &str {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, reason: &str, message: &str, second: u32) -> Value {
        json!({"type": kind, "reason": reason, "message": message,
            "lastTimestamp": format!("2026-11-30T01:00:{second:02}Z")})
    }

    #[test]
    fn the_last_warning_is_the_reason() {
        let sandbox = event(
            "Warning",
            "FailedCreatePodSandBox",
            "seccomp not supported",
            9,
        );
        let mount = event("Warning", "FailedMount", "secret not found", 3);
        let scheduled = event("Normal", "Scheduled", "assigned", 1);
        let all = [sandbox.clone(), mount, scheduled];
        assert_eq!(
            warning(&all).unwrap(),
            "FailedCreatePodSandBox: seccomp not supported"
        );
        let pulling = event("Normal", "Pulling", "x", 12);
        assert_eq!(warning(&[sandbox, pulling]), None);
        assert_eq!(warning(&[]), None);
    }

    #[test]
    fn a_warning_without_a_reason_gives_way_to_the_one_with_it() {
        let pull = event("Warning", "Failed", "Failed to pull image \"x\": EOF", 5);
        let state = event("Warning", "Failed", "Error: ImagePullBackOff", 6);
        let back_off = event("Normal", "BackOff", "Back-off pulling image", 7);
        let told = warning(&[pull, state, back_off]).unwrap();
        assert!(told.ends_with("EOF"), "{told}");
    }
}
