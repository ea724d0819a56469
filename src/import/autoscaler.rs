//! What the autoscaler was deployed with, read from its HelmChart and its cloud-config.

use serde_json::{Map, Value};

use crate::generate::{self, CONFIG_ANNOTATION, VALUES_ANNOTATION};
use crate::plan::{self, Plan};

/// The autoscaler as it is deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// Chart repository.
    pub repo: String,
    /// Chart version.
    pub version: String,
    /// Image repository.
    pub image: String,
    /// Image tag, without a digest.
    pub tag: String,
    digest: Option<String>,
    /// Which group grows.
    pub expander: String,
    /// Its groups, in its order.
    pub groups: Vec<String>,
    values: Value,
}

impl Autoscaler {
    /// From the HelmChart object and the cloud-config; `None` where it is not deployed.
    pub fn read(chart: &str, cloud_config: &str) -> Option<Self> {
        let chart: Value = serde_json::from_str(chart).ok()?;
        let spec = &chart["spec"];
        let values: Value = serde_saphyr::from_str(spec["valuesContent"].as_str()?).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let tag = text(&values["image"]["tag"])?;
        let (tag, digest) = match tag.split_once('@') {
            Some((tag, digest)) => (tag.to_owned(), Some(digest.to_owned())),
            None => (tag, None),
        };
        let groups = cloud_config.lines().filter_map(|line| {
            let name = line.trim().strip_prefix("[nodegroup \"")?;
            Some(name.strip_suffix("\"]")?.to_owned())
        });
        Some(Self {
            repo: text(&spec["repo"])?,
            version: text(&spec["version"])?,
            image: text(&values["image"]["repository"])?,
            tag,
            digest,
            expander: text(&values["extraArgs"]["expander"])?,
            groups: groups.collect(),
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
        let hash = self.values["podAnnotations"][CONFIG_ANNOTATION].as_str();
        let mut ours = generate::values(plan, hash.unwrap_or_default());
        // A hash over all values differs as soon as one does.
        ours["deployment"]["annotations"][VALUES_ANNOTATION] =
            self.values["deployment"]["annotations"][VALUES_ANNOTATION].clone();
        let mut values = beyond(&ours, &self.values);
        let args = match values.remove("extraArgs") {
            Some(Value::Object(args)) => args,
            _ => Map::new(),
        };
        (args, values)
    }
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
