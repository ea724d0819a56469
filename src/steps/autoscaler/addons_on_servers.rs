//! The components that k3s packages run on servers: on an agent one of their pods would keep it from being removed for ever.
//! k3s applies its manifests again at every start as `kubectl apply` does, so that a field of ours stays
//! (rancher/wrangler@v3.4.0 `pkg/apply/desiredset_compare.go`, `doPatch`). Traefik is a chart: its values are ours to add to.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::deletion::DeletableObject;
use crate::failure::{Code, Failure, Result};
use crate::k3s::addons::{self, PACKAGED, Packaged, TRAEFIK};
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::NAMESPACE;
use crate::names::kubernetes::{CONTROL_PLANE, HELM_API, SERVERS};
use crate::names::ours::KEPT_ON_SERVERS;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Plan;
use crate::step_id::{StepId, StepName};
use crate::world::World;

/// k3s looks at its manifests every 15 s, and has applied them all within seconds of its API's start.
const DEPLOYED: Duration = Duration::from_mins(2);

/// A new pod of a component that ran before is there within this time: its image may have to be pulled.
const ROLLED_OUT: Duration = Duration::from_mins(5);

pub(crate) struct AddonsOnServers {
    needs: Vec<StepId>,
}

/// What the cluster has that is not as it is to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// What k3s is still to deploy.
    missing: Option<&'static str>,
    /// Deployments to change, each with whether it has a pod that is available.
    deployments: Vec<(&'static str, bool)>,
    /// Deployments that are left alone, each with the reason.
    left: Vec<String>,
    /// What is to become of our values for Traefik's chart.
    traefik: Traefik,
}

/// What is to become of our values for Traefik's chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Traefik {
    /// They are as they are to be.
    #[default]
    Stay,
    Write,
    Delete,
}

impl AddonsOnServers {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            needs: crate::steps::server::api_ready::needed(plan),
        }
    }
}

/// Looks at every packaged component that is not disabled.
async fn look(world: &World, kubernetes: &Kubernetes) -> Result<Seen> {
    let k3s = &world.plan.k3s;
    let enabled = |word: &str| !k3s.disable.iter().any(|disabled| disabled == word);
    // Before the Deployments: what k3s had applied by then is among them, unless someone deleted it. Without the kind k3s has
    // not begun.
    let applied = if k3s.addons_on_servers {
        let addons = ["addons", "-n", NAMESPACE];
        kubernetes.list_if_known(&addons).await?.unwrap_or_default()
    } else {
        Vec::new()
    };
    let there = kubernetes.list(&["deployment", "-n", NAMESPACE]).await?;
    let mut seen = Seen::default();
    let mut nodes = None;
    for packaged in PACKAGED
        .iter()
        .filter(|packaged| enabled(packaged.component))
    {
        let name = packaged.deployment;
        let Some(deployment) = there.iter().find(|deployment| packaged.made(deployment)) else {
            let comes = k3s.addons_on_servers && !packaged.is_applied(&applied);
            if comes && !skipped(kubernetes, packaged).await? {
                seen.missing = seen.missing.or(Some(name));
            }
            continue;
        };
        let available = deployment["status"]["availableReplicas"].as_u64() >= Some(1);
        if !k3s.addons_on_servers {
            if deployment["metadata"]["annotations"][KEPT_ON_SERVERS] == "true" {
                seen.deployments.push((name, available));
            }
            continue;
        }
        if addons::stays_on_servers(deployment) {
            continue;
        }
        if nodes.is_none() {
            nodes = Some(kubernetes.list(&["nodes", "-l", SERVERS]).await?);
        }
        match addons::unfit(deployment, nodes.as_deref().unwrap_or_default()) {
            Some(why) => seen.left.push(format!("{name} may run on agents: {why}")),
            None => seen.deployments.push((name, available)),
        }
    }
    let configs = kubernetes
        .list_if_known(&["helmchartconfig", "-n", NAMESPACE])
        .await?;
    let keep = k3s.addons_on_servers && enabled(TRAEFIK);
    match configs {
        None if keep => seen.missing = seen.missing.or(Some("its Helm controller")),
        None => {}
        Some(configs) => traefik(keep, &configs, &mut seen)?,
    }
    Ok(seen)
}

/// Whether a file has k3s leave this component out.
async fn skipped(kubernetes: &Kubernetes, packaged: &Packaged) -> Result<bool> {
    let file = kubernetes.server.read(&packaged.skip_path()).await?;
    Ok(file.is_some())
}

/// A `HelmChartConfig` with other values than ours is someone else's, and stays.
fn traefik(keep: bool, configs: &[Value], seen: &mut Seen) -> Result<()> {
    let found = configs
        .iter()
        .find(|config| config["metadata"]["name"] == TRAEFIK);
    let values = values()?;
    let ours = found.map(|config| config["spec"]["valuesContent"] == values.as_str());
    seen.traefik = match (ours, keep) {
        (None, true) => Traefik::Write,
        (Some(true), false) => Traefik::Delete,
        _ => Traefik::Stay,
    };
    if ours == Some(false) && keep {
        let left = format!("{TRAEFIK} goes by a HelmChartConfig of your own");
        seen.left.push(left);
    }
    Ok(())
}

/// What Traefik's chart gets besides k3s's own values.
fn values() -> Result<String> {
    crate::yaml::write(&json!({"nodeSelector": {CONTROL_PLANE: "true"}}))
}

/// What a Deployment gets, or loses. It is merged and not applied: an object that is applied owns all of `nodeSelector`, which has
/// no owners of single keys (k8s.io/api core/v1 `PodSpec`, mapType=atomic), and k3s's own key in it would go.
fn patch(keep: bool) -> Value {
    let value = if keep { json!("true") } else { Value::Null };
    json!({
        "metadata": {"annotations": {KEPT_ON_SERVERS: value}},
        "spec": {"template": {"spec": {"nodeSelector": {CONTROL_PLANE: value}}}},
    })
}

fn config() -> Result<Value> {
    Ok(json!({
        "apiVersion": HELM_API,
        "kind": "HelmChartConfig",
        "metadata": {"name": TRAEFIK, "namespace": NAMESPACE},
        "spec": {"valuesContent": values()?},
    }))
}

#[async_trait]
impl Step<World> for AddonsOnServers {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::AddonsOnServers.on_cluster(),
            "Keep packaged components on servers",
            format!("slicer-k3s kubectl get addons,deployments,helmchartconfigs -n {NAMESPACE}"),
        )
        .needs(self.needs.clone())
        .code(Code::Kubernetes)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let seen = look(world, &kubernetes).await?;
        if let Some(missing) = seen.missing {
            return Ok(Finding::Unknown(format!(
                "k3s has not deployed {missing} yet"
            )));
        }
        let names = seen.deployments.iter().map(|(name, _)| *name);
        let mut differ: Vec<&str> = names.collect();
        if seen.traefik != Traefik::Stay {
            differ.push(TRAEFIK);
        }
        if !differ.is_empty() {
            let may = if world.plan.k3s.addons_on_servers && seen.traefik != Traefik::Delete {
                "may run on agents"
            } else {
                "may run on servers only"
            };
            return Ok(Finding::differs(format!("{} {may}", differ.join(", "))));
        }
        Ok(Finding::Done(seen.left.join("; ")))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let keep = world.plan.k3s.addons_on_servers;
        let begin = Instant::now();
        let seen = loop {
            let late = begin.elapsed() >= DEPLOYED;
            match look(world, &kubernetes).await {
                Ok(seen) => match seen.missing {
                    None => break seen,
                    Some(missing) if late => {
                        let what = format!("k3s has not deployed {missing}");
                        let why = format!("after {} s it is not there", DEPLOYED.as_secs());
                        return Err(Failure::new(Code::Kubernetes, what).because(why));
                    }
                    Some(_) => {}
                },
                // Kinds that k3s defines at its start are pages that are not found before.
                Err(failure) if late || failure.is_permanent() => return Err(failure),
                Err(_) => {}
            }
            tokio::time::sleep(self.meta().poll_interval).await;
        };
        for (name, available) in seen.deployments {
            let object = format!("deployment/{name}");
            kubernetes
                .patch(permit, NAMESPACE, &object, &patch(keep))
                .await?;
            // One that had no pod yet may take its time.
            if available && let Err(why) = self.runs_again(&kubernetes, name).await? {
                if keep {
                    kubernetes
                        .patch(permit, NAMESPACE, &object, &patch(false))
                        .await?;
                }
                let what = format!("{name} did not come up again");
                return Err(Failure::new(Code::Kubernetes, what).because(why));
            }
        }
        match seen.traefik {
            Traefik::Stay => Ok(()),
            Traefik::Write => kubernetes.apply(permit, &config()?).await,
            Traefik::Delete => {
                let config = DeletableObject::ours("helmchartconfig", NAMESPACE, TRAEFIK);
                kubernetes.delete(permit, &config).await
            }
        }
    }
}

impl AddonsOnServers {
    /// Waits until all pods of a changed Deployment are new and one is available; why not, where they are not in time.
    async fn runs_again(
        &self,
        kubernetes: &Kubernetes,
        name: &str,
    ) -> Result<std::result::Result<(), String>> {
        let begin = Instant::now();
        loop {
            let deployment = kubernetes
                .get(&["deployment", "-n", NAMESPACE, name])
                .await?
                .unwrap_or_default();
            let (status, spec) = (&deployment["status"], &deployment["spec"]);
            let current = status["observedGeneration"] == deployment["metadata"]["generation"];
            let new = status["updatedReplicas"] == spec["replicas"]
                && status["replicas"] == spec["replicas"];
            if current && new && status["availableReplicas"].as_u64() >= Some(1) {
                return Ok(Ok(()));
            }
            if begin.elapsed() >= ROLLED_OUT {
                let seconds = ROLLED_OUT.as_secs();
                return Ok(Err(format!(
                    "after {seconds} s none of its new pods is available, so it may run on agents as before"
                )));
            }
            tokio::time::sleep(self.meta().poll_interval).await;
        }
    }
}

#[cfg(test)]
mod tests;
