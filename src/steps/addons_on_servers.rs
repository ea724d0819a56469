//! The components that k3s packages run on servers: on an agent one of their pods would keep it from being removed for ever.
//! k3s applies its manifests again at every start as `kubectl apply` does, so that a field of ours stays
//! (rancher/wrangler@v3.4.0 `pkg/apply/desiredset_compare.go`, `doPatch`). Traefik is a chart: its values are ours to add to.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::CLUSTER;
use crate::failure::{Code, Failure, Result};
use crate::generate::NAMESPACE;
use crate::k3s::addons::{self, PACKAGED, TRAEFIK};
use crate::kubernetes::{CONTROL_PLANE, HELM_API, Kubernetes};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Plan;
use crate::world::World;

/// k3s looks at its manifests every 15 s, and has applied them all within seconds of its API's start.
const DEPLOYED: Duration = Duration::from_mins(2);

/// Marks a Deployment whose pods this program keeps on servers.
const KEPT: &str = "slicer-k3s.dev/on-servers";

pub(super) struct AddonsOnServers {
    needs: Vec<StepId>,
}

pub(super) fn id() -> StepId {
    StepId::new("addons-on-servers", CLUSTER)
}

/// What the cluster has that is not as it is to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// What k3s is still to deploy.
    missing: Option<&'static str>,
    /// Deployments to change.
    deployments: Vec<&'static str>,
    /// Traefik's values are to change.
    traefik: bool,
    /// Someone else gave values to Traefik's chart.
    own_values: bool,
}

impl AddonsOnServers {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            needs: super::k3s_started::first_api(plan),
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
        kubernetes.list(&["addons", "-n", NAMESPACE]).await?
    } else {
        Vec::new()
    };
    let there = kubernetes
        .list_whole(&["deployment", "-n", NAMESPACE])
        .await?;
    let mut seen = Seen::default();
    let mut missing = Vec::new();
    for packaged in PACKAGED
        .iter()
        .filter(|packaged| enabled(packaged.component))
    {
        match there.iter().find(|deployment| packaged.made(deployment)) {
            None => missing.push(packaged),
            Some(deployment) => {
                let kept = deployment["metadata"]["annotations"][KEPT] == "true";
                let differs = if k3s.addons_on_servers {
                    !addons::stays_on_servers(deployment)
                } else {
                    kept
                };
                if differs {
                    seen.deployments.push(packaged.deployment);
                }
            }
        }
    }
    if k3s.addons_on_servers {
        let coming = missing
            .iter()
            .find(|packaged| !packaged.passed_by(&applied));
        seen.missing = coming.map(|packaged| packaged.deployment);
    }
    if enabled(TRAEFIK) {
        match kubernetes
            .get(&["helmchartconfig", "-n", NAMESPACE])
            .await?
        {
            None => {
                let missing = k3s.addons_on_servers.then_some("its Helm controller");
                seen.missing = seen.missing.or(missing);
            }
            Some(configs) => traefik(k3s.addons_on_servers, &configs, &mut seen)?,
        }
    }
    Ok(seen)
}

/// A `HelmChartConfig` with other values than ours is someone else's, and stays.
fn traefik(keep: bool, configs: &Value, seen: &mut Seen) -> Result<()> {
    let mut items = configs["items"].as_array().into_iter().flatten();
    let found = items.find(|config| config["metadata"]["name"] == TRAEFIK);
    let ours = match found {
        None => None,
        Some(config) => Some(config["spec"]["valuesContent"] == values()?.as_str()),
    };
    seen.traefik = match ours {
        None => keep,
        Some(ours) => ours && !keep,
    };
    seen.own_values = ours == Some(false);
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
        "metadata": {"annotations": {KEPT: value}},
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
impl Step for AddonsOnServers {
    fn id(&self) -> StepId {
        id()
    }

    fn title(&self) -> String {
        "Keep packaged components on servers".into()
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn code(&self) -> Code {
        Code::Kubernetes
    }

    fn hint(&self) -> String {
        format!("slicer-k3s kubectl get addons,deployments,helmchartconfigs -n {NAMESPACE}")
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        let seen = look(world, &kubernetes).await?;
        if let Some(missing) = seen.missing {
            return Ok(Finding::Unknown(format!(
                "k3s has not deployed {missing} yet"
            )));
        }
        let mut differ = seen.deployments;
        if seen.traefik {
            differ.push(TRAEFIK);
        }
        if !differ.is_empty() {
            let may = if world.plan.k3s.addons_on_servers {
                "may run on agents"
            } else {
                "may run on servers only"
            };
            return Ok(Finding::differs(format!("{} {may}", differ.join(", "))));
        }
        Ok(if seen.own_values {
            Finding::Done(format!("{TRAEFIK} goes by a HelmChartConfig of your own"))
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
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
                Err(failure) if late || failure.is_lasting() => return Err(failure),
                Err(_) => {}
            }
            tokio::time::sleep(self.pace()).await;
        };
        for name in seen.deployments {
            let object = format!("deployment/{name}");
            kubernetes
                .patch(hands, NAMESPACE, &object, &patch(keep))
                .await?;
        }
        match (seen.traefik, keep) {
            (true, true) => kubernetes.apply(hands, &config()?).await,
            (true, false) => {
                let words = ["helmchartconfig", "-n", NAMESPACE, TRAEFIK];
                kubernetes.delete(hands, &words).await
            }
            (false, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    const CONFIGS: &str = "get helmchartconfig";

    fn packaged(name: &str, addon: &str, more: &Value) -> Value {
        let mut deployment = json!({
            "metadata": {"name": name, "annotations": {
                "objectset.rio.cattle.io/owner-gvk": "k3s.cattle.io/v1, Kind=Addon",
                "objectset.rio.cattle.io/owner-name": addon,
            }},
            "spec": {"template": {"spec": {"nodeSelector": more}}},
        });
        if more.get("node-role.kubernetes.io/control-plane").is_some() {
            deployment["metadata"]["annotations"][KEPT] = json!("true");
        }
        deployment
    }

    fn deployments(selector: &Value) -> String {
        let items = [
            packaged("coredns", "coredns", selector),
            packaged("local-path-provisioner", "local-storage", selector),
            packaged("metrics-server", "metrics-server-deployment", selector),
            // Of that name, and not k3s's.
            json!({"metadata": {"name": "coredns"}}),
        ];
        json!({"items": items}).to_string()
    }

    fn configs(values: Option<&str>) -> String {
        let item = |values: &str| json!({"metadata": {"name": "traefik"}, "spec": {"valuesContent": values}});
        json!({"items": values.map(item).into_iter().collect::<Vec<_>>()}).to_string()
    }

    /// The step's finding, and what it told the server to do where the fact did not hold.
    async fn run(keep: bool, disable: &[&str], fake: &Fake) -> Finding {
        let mut world = world(&[("k3s-cp-1", fake)]);
        world.plan.k3s.addons_on_servers = keep;
        world.plan.k3s.disable = disable.iter().map(|word| (*word).to_owned()).collect();
        let step = AddonsOnServers::new(&plan());
        let found = step.check(&world).await.unwrap();
        if matches!(found, Finding::Differs(_)) {
            step.apply(&world, &hands()).await.unwrap();
        }
        found
    }

    fn free() -> Value {
        json!({"kubernetes.io/os": "linux"})
    }

    fn pinned() -> Value {
        json!({"kubernetes.io/os": "linux", "node-role.kubernetes.io/control-plane": "true"})
    }

    #[tokio::test]
    async fn packaged_components_are_kept_on_servers_once() {
        let fake = Fake::new()
            .says("get deployment", &deployments(&free()))
            .says(CONFIGS, &configs(None));
        let found = run(true, &[], &fake).await;
        let all = "coredns, local-path-provisioner, metrics-server, traefik may run on agents";
        assert_eq!(found, Finding::differs(all));
        for name in ["coredns", "local-path-provisioner", "metrics-server"] {
            let patch = format!("deployment/{name} --type merge");
            assert!(fake.was_told(&patch), "{:?}", fake.told());
        }
        let told = fake.told();
        let mut applied = told.iter().map(|(_, object)| object);
        assert!(applied.any(|object| object.contains("HelmChartConfig")));
        let ours = values().unwrap();
        let fake = Fake::new()
            .says("get deployment", &deployments(&pinned()))
            .says(CONFIGS, &configs(Some(&ours)));
        assert_eq!(run(true, &[], &fake).await, Finding::done());
    }

    #[tokio::test]
    async fn what_is_disabled_is_not_waited_for() {
        let fake = Fake::new()
            .says("get deployment", r#"{"items":[]}"#)
            .says("get addons", r#"{"items":[]}"#);
        let all = ["coredns", "local-storage", "metrics-server", "traefik"];
        assert_eq!(run(true, &all, &fake).await, Finding::done());
        let found = run(true, &all[1..], &fake).await;
        let why = "k3s has not deployed coredns yet";
        assert_eq!(found, Finding::Unknown(why.into()));
    }

    /// A Deployment that is made between the two looks would pass for one that was deleted, and would be left out.
    #[tokio::test]
    async fn add_ons_are_listed_before_what_they_make() {
        let fake = Fake::new()
            .says("get deployment", &deployments(&free()))
            .says("get addons", r#"{"items":[]}"#)
            .says(CONFIGS, &configs(None));
        run(true, &[], &fake).await;
        let told = fake.told();
        let position = |words: &str| told.iter().position(|(command, _)| command.contains(words));
        assert!(position("get addons") < position("get deployment"));
    }

    /// Values that a person gave to Traefik are not overwritten, and nothing of theirs is deleted.
    #[tokio::test]
    async fn a_chart_config_of_someone_else_stays() {
        for keep in [true, false] {
            let fake = Fake::new()
                .says("get deployment", &deployments(&pinned()))
                .says(CONFIGS, &configs(Some("ports: {}\n")));
            let components = ["coredns", "local-storage", "metrics-server"];
            let found = run(keep, &components, &fake).await;
            let Finding::Done(note) = found else {
                panic!("{found:?}");
            };
            assert!(note.contains("of your own"), "{note}");
        }
    }

    #[tokio::test]
    async fn the_key_can_be_taken_back() {
        let ours = values().unwrap();
        let fake = Fake::new()
            .says("get deployment", &deployments(&pinned()))
            .says(CONFIGS, &configs(Some(&ours)));
        let found = run(false, &[], &fake).await;
        let all =
            "coredns, local-path-provisioner, metrics-server, traefik may run on servers only";
        assert_eq!(found, Finding::differs(all));
        assert!(fake.was_told("'delete'") || fake.was_told("kubectl delete"));
        let fake = Fake::new()
            .says("get deployment", &deployments(&free()))
            .says(CONFIGS, &configs(None));
        assert_eq!(run(false, &[], &fake).await, Finding::done());
    }

    /// k3s's own key stays, in both directions.
    #[test]
    fn a_patch_speaks_of_one_key() {
        for keep in [true, false] {
            let patch = patch(keep);
            let selector = &patch["spec"]["template"]["spec"]["nodeSelector"];
            assert_eq!(selector.as_object().unwrap().len(), 1);
            assert_eq!(addons::stays_on_servers(&patch), keep);
        }
    }
}
