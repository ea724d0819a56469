//! The autoscaler for k3s's own Helm controller: values, the HelmChart object, and the secret with its cloud-config.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::config::keys::PRIORITY;
use crate::failure::Result;
use crate::names::autoscaler::{
    AUTOSCALER, CHART, CLOUD_CONFIG_DIRECTORY, CLOUD_CONFIG_KEY, CLOUD_CONFIG_SECRET, EXTRA_ARGS,
    NAMESPACE, POD_ANNOTATIONS, VALUES_CONTENT,
};
use crate::names::kubernetes::{CONTROL_PLANE, HELM_API};
use crate::names::ours::{CONFIG_ANNOTATION, VALUES_ANNOTATION};
use crate::plan::Plan;
use crate::secret::sha256;
use crate::yaml;

/// The hash that the Deployment must carry once Helm has installed the chart as it is to be. The cloud-config's hash
/// has an annotation of its own and is not in it: it comes from secrets, and `generate` knows none of the daemons'.
pub fn values_hash(plan: &Plan) -> String {
    let version = &plan.autoscaler.chart_version;
    let told = format!("{version} {}", told(plan, ""));
    sha256(told.as_bytes())
}

/// The chart's values.
pub fn values(plan: &Plan, config_hash: &str) -> Value {
    let mut values = told(plan, config_hash);
    values["deployment"]["annotations"][VALUES_ANNOTATION] = json!(values_hash(plan));
    values
}

/// All of them but the hash over them.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/charts/cluster-autoscaler/values.yaml; the flags are in
/// cluster-autoscaler/config/flags/flags.go, those of logging in k8s.io/klog/v2, `leader-elect` in k8s.io/component-base.
fn told(plan: &Plan, config_hash: &str) -> Value {
    let autoscaler = &plan.autoscaler;
    let mut arguments = json!({
        "cloud-config": format!("{CLOUD_CONFIG_DIRECTORY}{CLOUD_CONFIG_KEY}"),
        "logtostderr": true,
        "stderrthreshold": "info",
        "v": 4,
        "scale-down-enabled": true,
        "scale-down-delay-after-add": "30s",
        "scale-down-unneeded-time": "30s",
        "expendable-pods-priority-cutoff": -10,
        "expander": autoscaler.expander,
        // One replica, recreated: a lease would cost 15 s at every change.
        "leader-elect": false,
    });
    if plan.workers().any(|daemon| daemon.min > 0) {
        // Without it min-size is a floor for removals only.
        arguments["enforce-node-group-min-size"] = json!(true);
    }
    overlay(&mut arguments, &autoscaler.args);
    let mut values = json!({
        "fullnameOverride": AUTOSCALER,
        "image": {"repository": autoscaler.image, "tag": autoscaler.pinned_tag()},
        "cloudProvider": "slicer",
        "autoDiscovery": {"clusterName": plan.cluster},
        "replicaCount": 1,
        // Without the null a Deployment that Helm 4 made by hand keeps its `rollingUpdate`, which Kubernetes forbids beside this.
        "updateStrategy": {"type": "Recreate", "rollingUpdate": null},
        POD_ANNOTATIONS: {CONFIG_ANNOTATION: config_hash},
        "extraVolumeSecrets": {CLOUD_CONFIG_SECRET: {
            "name": CLOUD_CONFIG_SECRET,
            "mountPath": CLOUD_CONFIG_DIRECTORY,
            "items": [{"key": CLOUD_CONFIG_KEY, "path": CLOUD_CONFIG_KEY}],
        }},
        // The upstream chart may not delete Nodes; the manual's patch by position is lost at the next upgrade.
        "rbac": {"additionalRules": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]},
        ]},
        "nodeSelector": {CONTROL_PLANE: "true"},
        "tolerations": [
            {"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"},
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
        ],
        EXTRA_ARGS: arguments,
    });
    if autoscaler.expander == PRIORITY {
        values["expanderPriorities"] = priorities(plan);
    }
    overlay(&mut values, &autoscaler.values);
    values
}

/// What the chart makes the expander's ConfigMap of: for each priority the groups that have it, as patterns. A group
/// that no pattern matches would never grow (cluster-autoscaler, expander/priority), so all are there.
fn priorities(plan: &Plan) -> Value {
    let mut priorities = BTreeMap::<u32, Vec<String>>::new();
    for daemon in plan.workers() {
        let pattern = format!("^{}$", daemon.group);
        priorities.entry(daemon.priority).or_default().push(pattern);
    }
    json!(priorities)
}

/// The HelmChart object.
pub fn helm_chart(plan: &Plan, config_hash: &str) -> Result<Value> {
    let autoscaler = &plan.autoscaler;
    Ok(json!({
        "apiVersion": HELM_API,
        "kind": "HelmChart",
        "metadata": {"name": AUTOSCALER, "namespace": NAMESPACE},
        "spec": {
            "repo": autoscaler.chart_repo,
            "chart": CHART,
            "version": autoscaler.chart_version,
            "targetNamespace": NAMESPACE,
            // The job tolerates what the servers are tainted with; else it waits for workers that only it can bring.
            "bootstrap": true,
            // A release that failed or was interrupted is installed again; the chart keeps no state, and what it goes by lies
            // in a Secret of ours. With `abort` klipper-helm would refuse it for ever, whatever the values are by then
            // (k3s-io/klipper-helm v0.13.3 entry).
            "failurePolicy": "reinstall",
            VALUES_CONTENT: yaml::write(&values(plan, config_hash))?,
        },
    }))
}

/// The secret with the cloud-config.
pub fn cloud_config_secret(cloud_config: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CLOUD_CONFIG_SECRET, "namespace": NAMESPACE},
        "type": "Opaque",
        "data": {CLOUD_CONFIG_KEY: STANDARD.encode(cloud_config)},
    })
}

/// Lays `over` on `base`: objects are merged, anything else is replaced.
fn overlay(base: &mut Value, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(below @ Value::Object(_)), Value::Object(above)) => overlay(below, above),
            _ => base[key] = value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn values_say_what_the_manual_says_and_may_be_overlaid() {
        let mut plan = plan();
        plan.autoscaler.args.insert("v".into(), json!(2));
        plan.autoscaler
            .values
            .insert("image".into(), json!({"tag": "mine"}));
        let values = values(&plan, "abc");
        assert_eq!(values["extraArgs"]["v"], 2);
        assert_eq!(values["extraArgs"]["leader-elect"], false);
        assert_eq!(values["image"]["tag"], "mine");
        assert_eq!(
            values["image"]["repository"],
            plan.autoscaler.image.as_str()
        );
        assert_eq!(values["podAnnotations"][CONFIG_ANNOTATION], "abc");
        assert_eq!(values["rbac"]["additionalRules"][0]["verbs"][0], "delete");
    }

    /// A tag moves; what was proven shall run.
    #[test]
    fn the_image_is_pinned_where_its_digest_is_known() {
        let mut plan = plan();
        assert_eq!(values(&plan, "abc")["image"]["tag"], "latest");
        plan.autoscaler.digest = Some("sha256:ab".into());
        assert_eq!(values(&plan, "abc")["image"]["tag"], "latest@sha256:ab");
    }

    /// `generate` has no daemon's token, and writes the bytes that `init` uses.
    #[test]
    fn the_hash_over_the_values_is_the_same_for_any_cloud_config() {
        let (one, other) = (values(&plan(), "one"), values(&plan(), "other"));
        assert_eq!(one["deployment"], other["deployment"]);
        let mut changed = plan();
        changed.autoscaler.expander = "least-waste".into();
        assert_ne!(values(&changed, "one")["deployment"], one["deployment"]);
    }

    /// The priority expander leaves alone whatever its ConfigMap does not name.
    #[test]
    fn each_group_has_a_priority_where_priorities_decide() {
        let mut plan = plan();
        assert!(values(&plan, "abc")["expanderPriorities"].is_null());
        plan.autoscaler.expander = PRIORITY.into();
        let mut other = plan.workers().next().unwrap().clone();
        other.group = "k3s-agent-2".into();
        other.priority = 10;
        plan.daemons.push(other);
        assert_eq!(
            values(&plan, "abc")["expanderPriorities"],
            json!({"0": ["^k3s-agents-1$", "^k3s-agents-2$"], "10": ["^k3s-agent-2$"]})
        );
    }

    /// Helm 4 applies on the server, where a key that is left out stays as another wrote it.
    #[test]
    fn a_rolling_update_that_was_there_is_taken_away() {
        let chart = helm_chart(&plan(), "abc").unwrap();
        let text = chart["spec"]["valuesContent"].as_str().unwrap();
        assert!(text.contains("rollingUpdate: null"), "{text}");
    }

    #[test]
    fn a_failed_release_is_installed_again() {
        let chart = helm_chart(&plan(), "abc").unwrap();
        assert_eq!(chart["spec"]["failurePolicy"], "reinstall");
        let text = chart["spec"]["valuesContent"].as_str().unwrap();
        let read: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(read, values(&plan(), "abc"));
    }
}
