//! The autoscaler's HelmChart object is the one we want, with the hash of the cloud-config that the cluster has.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE, VALUES_CONTENT};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::StepName;
use crate::steps::support::diff;
use crate::world::World;

pub(crate) struct Chart;

async fn wanted(world: &World) -> Result<Option<Value>> {
    let kubernetes = world.kubernetes().await?;
    match crate::steps::autoscaler::cloud_config::current_hash(&kubernetes).await? {
        Some(hash) => generate::helm_chart(&world.plan, &hash).map(Some),
        None => Ok(None),
    }
}

async fn current(world: &World) -> Result<Option<Value>> {
    world
        .kubernetes()
        .await?
        .get(&["helmchart", "-n", NAMESPACE, AUTOSCALER])
        .await
}

/// What `wanted` speaks of, as one text: the spec's own keys, then the values.
fn text(chart: &Value, wanted: &Value) -> Result<String> {
    let spec = wanted["spec"].as_object().into_iter().flatten();
    let keys: Map<String, Value> = spec
        .filter(|(key, _)| *key != VALUES_CONTENT)
        .map(|(key, _)| (key.clone(), chart["spec"][key.as_str()].clone()))
        .collect();
    let values = chart["spec"][VALUES_CONTENT].as_str().unwrap_or_default();
    Ok(format!("{}{values}", crate::yaml::write(&keys)?))
}

#[async_trait]
impl Step<World> for Chart {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::Chart.on_cluster(),
            "Deploy the autoscaler's chart",
            format!("slicer-k3s kubectl describe helmchart -n {NAMESPACE} {AUTOSCALER}"),
        )
        .needs([StepName::CloudConfig.on_cluster()])
        .code(Code::Autoscaler)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let Some(wanted) = wanted(world).await? else {
            return Ok(Finding::Unknown(
                "the cluster has no cloud-config yet".into(),
            ));
        };
        let Some(chart) = current(world).await? else {
            return Ok(Finding::differs("it is not deployed"));
        };
        // The API server adds defaults of its own: only what we say is compared.
        let changed = wanted["spec"].as_object().and_then(|spec| {
            spec.iter()
                .find(|(key, value)| chart["spec"][key.as_str()] != **value)
        });
        Ok(match changed {
            Some((key, _)) => Finding::differs(format!("its {key} is not the current one")),
            None => Finding::Done(world.plan.autoscaler.chart_version.clone()),
        })
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let Some(wanted) = wanted(world).await? else {
            return Ok(String::new());
        };
        let old = match current(world).await? {
            Some(chart) => Some(text(&chart, &wanted)?),
            None => None,
        };
        let name = format!("helmchart {NAMESPACE}/{AUTOSCALER}");
        let new = text(&wanted, &wanted)?;
        Ok(diff::unified(&name, old.as_deref(), &new))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let Some(wanted) = wanted(world).await? else {
            return Err(Failure::new(
                Code::Autoscaler,
                "the cluster has no cloud-config for the autoscaler",
            )
            .hint("run again"));
        };
        world.kubernetes().await?.apply(permit, &wanted).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    /// The provider reads its file once: a changed one must change the pod.
    #[tokio::test]
    async fn another_cloud_config_makes_another_chart() {
        let secret = |data: &str| format!(r#"{{"data":{{"cloud-config":"{data}"}}}}"#);
        let hash = crate::secret::sha256(b"abc");
        let chart = generate::helm_chart(&plan(), &hash).unwrap().to_string();
        for (data, done) in [("YWJj", true), ("YWJk", false)] {
            let fake = Fake::new()
                .says("/secrets/", &secret(data))
                .says("/helmcharts/", &chart);
            let world = world(&[("k3s-cp-1", &fake)]);
            let found = Chart.check(&world, Phase::Before).await.unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done);
            let diff = Chart.diff(&world).await.unwrap();
            let changed = diff.matches("slicer-k3s.dev/cloud-config").count();
            assert_eq!(changed, if done { 0 } else { 2 }, "{diff}");
        }
    }
}
