//! The autoscaler runs with the current cloud-config and has read every group.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::kubernetes::{Kubernetes, selector, waiting};
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::names::kubernetes::OVER;
use crate::names::ours::{CONFIG_ANNOTATION, VALUES_ANNOTATION};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Plan;
use crate::remote::Probe;
use crate::step_id::{StepId, StepName};
use crate::steps::autoscaler::parts::chart_state::{chart_state, pods_hint};
use crate::steps::autoscaler::parts::log_causes::{death, has_read};
use crate::steps::autoscaler::resumed::resume;
use crate::world::World;

/// A pod is available as soon as its process runs, which dies when a group does not answer: without its own word that it
/// works, one that has lived for this long has read them all.
const STABLE_FOR: Duration = Duration::from_secs(10);

/// k3s needs some seconds to replace the job of an older chart, and what that one has ended of is no longer true.
const MISSING: Duration = Duration::from_secs(15);

/// So many lines of its log are read: those of its start are no further up while it is young.
const LINES: u32 = 400;

/// Kubernetes tries again ever more slowly: an image that could not be pulled for so long will not be in time.
const PULLING: Duration = Duration::from_mins(1);

/// Part of the reasons why a container waits for its image: `ErrImagePull` and `ImagePullBackOff`.
///
/// Source: kubernetes/kubernetes pkg/kubelet/images/types.go.
const UNPULLED: &str = "ImagePull";

pub(crate) struct AutoscalerRunning {
    needs: Vec<StepId>,
    after: Vec<StepId>,
    alive: Mutex<Option<(String, Instant)>>,
    /// Since when its image has been seen not to be pulled.
    unpulled: Mutex<Option<Instant>>,
    /// Since when Helm has been seen not to find the chart.
    missing: Mutex<Option<Instant>>,
    /// The command that shows more of what is waited for: it names what there is by then.
    hint: Mutex<Option<String>>,
}

impl AutoscalerRunning {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut needs = vec![StepName::Chart.on_cluster()];
        let settled = plan
            .workers()
            .map(|daemon| StepName::AgentsSettled.on(&daemon.group));
        // That restarts the autoscaler where it has removed something.
        let mut after: Vec<StepId> = settled.collect();
        let first = plan.servers_here().take(1);
        let first = first.map(|server| StepName::NodeReady.on(&server.name));
        // Its pod needs a server; of a cluster that is founded the first one may be down.
        match plan.founded {
            None => needs.extend(first),
            Some(_) => after.extend(first),
        }
        Self {
            needs,
            after,
            alive: Mutex::new(None),
            unpulled: Mutex::new(None),
            missing: Mutex::new(None),
            hint: Mutex::new(None),
        }
    }

    /// A failure where the image could not be pulled for long.
    fn unpulled(&self, pod: &Value, phase: Phase) -> Option<Failure> {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let mut since = self.unpulled.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = waiting["reason"].as_str().unwrap_or_default();
        if !reason.contains(UNPULLED) || phase == Phase::Before {
            *since = None;
            return None;
        }
        if since.get_or_insert_with(Instant::now).elapsed() < PULLING {
            return None;
        }
        let node = pod["spec"]["nodeName"].as_str().unwrap_or("its node");
        Some(
            Failure::new(
                Code::Autoscaler,
                format!("{node} cannot pull the autoscaler's image"),
            )
            .because(waiting["message"].as_str().unwrap_or(reason))
            .hint(format!(
                "check the registry and `[autoscaler] image` in cluster.toml; slicer-k3s kubectl describe pod -n {NAMESPACE} {}",
                pod["metadata"]["name"].as_str().unwrap_or_default()
            ))
            .permanent(),
        )
    }

    /// Where the chart's installation stands.
    async fn installing(
        &self,
        kubernetes: &Kubernetes,
        otherwise: &str,
        phase: Phase,
    ) -> Result<Finding> {
        let state = chart_state(kubernetes, otherwise).await?;
        self.hint_at(Some(state.hint));
        let mut since = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(failure) = state.failure.filter(|_| phase == Phase::After) else {
            *since = None;
            return Ok(state.finding);
        };
        if since.get_or_insert_with(Instant::now).elapsed() < MISSING {
            return Ok(state.finding);
        }
        Err(failure)
    }

    fn hint_at(&self, hint: Option<String>) {
        *self.hint.lock().unwrap_or_else(PoisonError::into_inner) = hint;
    }

    /// Why its pod does not run.
    async fn why(&self, kubernetes: &Kubernetes, pod: &Value, log: &str) -> Result<String> {
        if let Some((cause, line)) = death(log) {
            return Ok(format!("{cause} ({line})"));
        }
        let reason = if log.trim().is_empty() {
            self.hint_at(Some(pods_hint()));
            kubernetes.stuck(NAMESPACE, pod).await?
        } else {
            waiting(pod).map(str::to_owned)
        };
        Ok(reason.unwrap_or_else(|| "its pod is starting".to_owned()))
    }

    /// How long this pod has been seen alive.
    fn age(&self, pod: &str) -> Duration {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        match alive.as_ref() {
            Some((known, since)) if known == pod => since.elapsed(),
            _ => {
                *alive = Some((pod.to_owned(), Instant::now()));
                Duration::ZERO
            }
        }
    }
}

/// Whether a container has run for [`STABLE_FOR`], by the server's clock. Its log need not be read then, in which the lines of a
/// start are soon too far up: with three agents the autoscaler logs 400 lines a loop.
async fn has_lived(kubernetes: &Kubernetes, container: &Value) -> Result<bool> {
    let Some(started) = container["state"]["running"]["startedAt"].as_str() else {
        return Ok(false);
    };
    let probe = Probe::SecondsSince(started.to_owned());
    let since = kubernetes.server.probe(&probe).await?;
    let since = since.stdout.trim().parse::<u64>();
    Ok(since.is_ok_and(|since| since >= STABLE_FOR.as_secs()))
}

/// Whether a pod is over: one that a Node refused when it registered anew stays listed beside the one in its place.
fn ended(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str();
    phase.is_some_and(|phase| OVER.contains(&phase))
}

/// Why there is no pod to go by. The Deployment makes none while an earlier one still ends (`Recreate`), which a Node whose
/// kubelet does not answer holds up for as long as it is so.
fn no_pod(pods: &[Value]) -> String {
    let ending = pods
        .iter()
        .find(|pod| pod["metadata"].get("deletionTimestamp").is_some() && !ended(pod));
    let Some(pod) = ending else {
        return "its pod is not made yet".into();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "its earlier pod {} has not ended yet on {}",
        text(&pod["metadata"]["name"]),
        text(&pod["spec"]["nodeName"])
    )
}

/// Whether pods of an older form are still there, or the change has not even been seen yet.
fn rolls(deployment: &Value) -> bool {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let status = &deployment["status"];
    number(&deployment["metadata"]["generation"]) > number(&status["observedGeneration"])
        || number(&status["replicas"]) > number(&status["updatedReplicas"])
}

#[async_trait]
impl Step<World> for AutoscalerRunning {
    fn meta(&self) -> Meta {
        let hint = {
            let hint = self.hint.lock().unwrap_or_else(PoisonError::into_inner);
            hint.clone()
                .unwrap_or_else(|| "slicer-k3s logs autoscaler -n 50".to_owned())
        };
        Meta::new(
            StepName::AutoscalerRunning.on_cluster(),
            "Wait for the autoscaler to run",
            hint,
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        .timeout(Duration::from_mins(5))
        .poll_interval(Duration::from_millis(400))
        .code(Code::Autoscaler)
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        self.hint_at(None);
        let kubernetes = world.kubernetes().await?;
        let wanted = crate::steps::autoscaler::cloud_config::current_hash(&kubernetes).await?;
        let deployment = kubernetes
            .get(&["deployment", "-n", NAMESPACE, AUTOSCALER])
            .await?;
        let Some(deployment) = deployment else {
            let why = "the chart is installed, its Deployment not there yet";
            return self.installing(&kubernetes, why, phase).await;
        };
        let annotation =
            &deployment["spec"]["template"]["metadata"]["annotations"][CONFIG_ANNOTATION];
        if wanted.is_none() || annotation.as_str() != wanted.as_deref() {
            let why = "it still has the previous cloud-config";
            return self.installing(&kubernetes, why, phase).await;
        }
        let hash = generate::values_hash(&world.plan);
        if deployment["metadata"]["annotations"][VALUES_ANNOTATION] != hash.as_str() {
            let why = "it still has the previous values";
            return self.installing(&kubernetes, why, phase).await;
        }
        if deployment["spec"]["replicas"] == 0 {
            return Ok(Finding::differs("it was stopped: it has no pod"));
        }
        if rolls(&deployment) {
            return Ok(Finding::Unknown("its pod is being replaced".into()));
        }
        let selector = selector(&deployment);
        let pods = kubernetes
            .list(&["pods", "-n", NAMESPACE, "-l", &selector])
            .await?;
        let current = pods.iter().find(|pod| {
            pod["metadata"]["annotations"][CONFIG_ANNOTATION].as_str() == wanted.as_deref()
                && pod["metadata"].get("deletionTimestamp").is_none()
                && !ended(pod)
        });
        let Some(pod) = current else {
            self.hint_at(Some(pods_hint()));
            return Ok(Finding::Unknown(no_pod(&pods)));
        };
        let container = &pod["status"]["containerStatuses"][0];
        let restarts = container["restartCount"].as_u64().unwrap_or(0);
        let runs = container["state"].get("running").is_some() && container["ready"] == true;
        if runs && has_lived(&kubernetes, container).await? {
            return Ok(Finding::done());
        }
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let log = kubernetes.log(NAMESPACE, name, LINES, false).await?;
        if !runs {
            if let Some(failure) = self.unpulled(pod, phase) {
                return Err(failure);
            }
            let why = self.why(&kubernetes, pod, &log).await?;
            // Kubernetes retries ever more slowly; three deaths of one cause are no accident.
            if restarts >= 3 && phase == Phase::After && death(&log).is_some() {
                return Err(
                    Failure::new(Code::Autoscaler, "the autoscaler does not start")
                        .because(why)
                        .hint(self.meta().hint)
                        .permanent(),
                );
            }
            return Ok(if restarts >= 1 {
                Finding::Differs(why)
            } else {
                Finding::Unknown(why)
            });
        }
        let uid = format!(
            "{}/{restarts}",
            pod["metadata"]["uid"].as_str().unwrap_or_default()
        );
        if has_read(&log) || self.age(&uid) >= STABLE_FOR {
            return Ok(Finding::done());
        }
        Ok(Finding::Unknown("it runs, and reads its groups".into()))
    }

    /// k3s's Helm controller does it; a pod that died before this run is made anew, for what killed it may be mended
    /// while Kubernetes waits up to five minutes between two tries.
    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let found = self.check(world, Phase::Before).await;
        if !matches!(found, Ok(Finding::Differs(_))) {
            return Ok(());
        }
        let kubernetes = world.kubernetes().await?;
        if resume(&kubernetes, permit).await? {
            return Ok(());
        }
        let workload = format!("deployment/{AUTOSCALER}");
        kubernetes.restart(permit, NAMESPACE, &workload).await
    }
}

#[cfg(test)]
mod tests;
