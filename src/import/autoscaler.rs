//! What the autoscaler was deployed with, read from its HelmChart, or Helm's own record of it, and its cloud-config.

use serde_json::{Map, Value};

use crate::generate;
use crate::names::autoscaler::{EXTRA_ARGS, POD_ANNOTATIONS, VALUES_CONTENT};
use crate::names::ours::{CONFIG_ANNOTATION, VALUES_ANNOTATION};
use crate::plan::{self, Plan};

/// The autoscaler as it is deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// Chart repository, where that is told.
    pub repo: Option<String>,
    /// Chart version.
    pub version: String,
    /// Image repository.
    pub image: String,
    /// Image tag, without a digest.
    pub tag: String,
    digest: Option<String>,
    /// Which group grows, where that is told.
    pub expander: Option<String>,
    /// Its groups, in its order.
    pub groups: Vec<String>,
    values: Value,
}

impl Autoscaler {
    /// From the HelmChart object and the cloud-config; `None` where it is not deployed.
    pub fn read(chart: &str, cloud_config: &str) -> Option<Self> {
        let chart: Value = serde_json::from_str(chart).ok()?;
        let spec = &chart["spec"];
        let values: Value = serde_saphyr::from_str(spec[VALUES_CONTENT].as_str()?).ok()?;
        let repo = spec["repo"].as_str();
        Self::of(spec["version"].as_str()?, repo, values, cloud_config)
    }

    /// From the record that Helm keeps of a release, as it is for whoever installed the chart without us.
    ///
    /// Source: helm/helm v4 pkg/release/v1/release.go (`Release`), pkg/chart/v2/chart.go.
    pub fn of_release(release: &str, cloud_config: &str) -> Option<Self> {
        let release: Value = serde_json::from_str(release).ok()?;
        let version = release["chart"]["metadata"]["version"].as_str()?;
        Self::of(version, None, release["config"].clone(), cloud_config)
    }

    fn of(version: &str, repo: Option<&str>, values: Value, cloud_config: &str) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let tag = text(&values["image"]["tag"])?;
        let (tag, digest) = match tag.split_once('@') {
            Some((tag, digest)) => (tag.to_owned(), Some(digest.to_owned())),
            None => (tag, None),
        };
        Some(Self {
            repo: repo.map(str::to_owned),
            version: version.to_owned(),
            image: text(&values["image"]["repository"])?,
            tag,
            digest,
            expander: text(&values[EXTRA_ARGS]["expander"]),
            groups: generate::named_groups(cloud_config),
            values,
        })
    }

    /// The image by tag, with its digest.
    pub fn digest(&self) -> Option<(String, String)> {
        let image = plan::Autoscaler::reference(&self.image, &self.tag);
        Some((image, self.digest.clone()?))
    }

    /// What it was given beyond what `plan` gives it: (flags, values).
    pub fn extras(&self, plan: &Plan) -> (Map<String, Value>, Map<String, Value>) {
        let hash = self.values[POD_ANNOTATIONS][CONFIG_ANNOTATION].as_str();
        let mut ours = generate::values(plan, hash.unwrap_or_default());
        // A hash over all values differs as soon as one does.
        ours["deployment"]["annotations"][VALUES_ANNOTATION] =
            self.values["deployment"]["annotations"][VALUES_ANNOTATION].clone();
        let mut values = beyond(&ours, &self.values);
        let mut args = match values.remove(EXTRA_ARGS) {
            Some(Value::Object(args)) => args,
            _ => Map::new(),
        };
        for value in args.values_mut() {
            if let Some(text) = as_written(value) {
                *value = text;
            }
        }
        (args, values)
    }
}

/// A flag's list as the chart writes it, in one piece: that is what the autoscaler was started with.
fn as_written(value: &Value) -> Option<Value> {
    let words = value.as_array()?.iter().map(|item| match item {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let words: Vec<String> = words.collect();
    Some(Value::String(format!("[{}]", words.join(" "))))
}

/// What must be laid over `ours` to make it say what `theirs` says.
fn beyond(ours: &Value, theirs: &Value) -> Map<String, Value> {
    let mut more = Map::new();
    for (key, value) in theirs.as_object().into_iter().flatten() {
        match ours.get(key) {
            Some(own) if own == value => {}
            Some(own @ Value::Object(_)) if value.is_object() => {
                let inner = beyond(own, value);
                if !inner.is_empty() {
                    more.insert(key.clone(), Value::Object(inner));
                }
            }
            _ => {
                more.insert(key.clone(), value.clone());
            }
        }
    }
    more
}
