//! The cluster remembers which groups were proven, in which form, so that a second run need not prove them again; and
//! which proof was begun, so that the run after a killed one knows what that one may have left.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Trial, clean, scale_down};
use crate::failure::Result;
use crate::generate::NAMESPACE;
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::world::World;

/// One ConfigMap for all groups; each writes only its own keys.
const RECORD: &str = "slicer-k3s-proven";

/// The key under which a group's begun proof is noted: the VMs that were there before it.
fn begun_key(group: &str) -> String {
    format!("{group}.begun")
}

/// What is on record of all groups.
async fn data(kubernetes: &Kubernetes) -> Result<Value> {
    let mut record = kubernetes
        .get(&["configmap", "-n", NAMESPACE, RECORD])
        .await?
        .unwrap_or_default();
    Ok(record["data"].take())
}

/// Whether this very proof is on record.
pub(super) async fn read(kubernetes: &Kubernetes, trial: &Trial) -> Result<bool> {
    Ok(data(kubernetes).await?[&trial.daemon.group] == trial.fingerprint.as_str())
}

/// The VMs before the group's proof that was begun and did not end, if there is one.
pub(super) async fn begun(
    kubernetes: &Kubernetes,
    group: &str,
) -> Result<Option<BTreeSet<String>>> {
    let data = data(kubernetes).await?;
    let before = data[begun_key(group)].as_str();
    Ok(before.map(|before| before.split_whitespace().map(str::to_owned).collect()))
}

/// Notes that a proof begins.
pub(super) async fn begin(
    kubernetes: &Kubernetes,
    hands: &Hands,
    group: &str,
    before: &BTreeSet<String>,
) -> Result<()> {
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let data = json!({begun_key(group): before.join(" ")});
    kubernetes
        .merge_config_map(hands, NAMESPACE, RECORD, &data)
        .await
}

/// Forgets a proof that was begun: nothing of it is left.
pub(super) async fn forget(kubernetes: &Kubernetes, hands: &Hands, group: &str) -> Result<()> {
    let data = json!({begun_key(group): null});
    kubernetes
        .merge_config_map(hands, NAMESPACE, RECORD, &data)
        .await
}

pub(super) struct Recorded {
    trial: Arc<Trial>,
}

impl Recorded {
    pub(super) fn new(trial: &Arc<Trial>) -> Self {
        Self {
            trial: Arc::clone(trial),
        }
    }
}

#[async_trait]
impl Step for Recorded {
    fn id(&self) -> StepId {
        self.trial.id("proven")
    }

    fn title(&self) -> String {
        format!("Remember that {} was proven", self.trial.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![self.trial.id(scale_down::NAME), self.trial.id(clean::NAME)]
    }

    fn hint(&self) -> String {
        format!("slicer-k3s kubectl get configmap -n {NAMESPACE} {RECORD} -o yaml")
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let kubernetes = world.kubernetes().await?;
        Ok(if read(&kubernetes, &self.trial).await? {
            Finding::done()
        } else {
            Finding::differs("it is not on record")
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        // A merge, not an apply: server-side apply by one owner would drop the other groups' keys.
        world
            .kubernetes()
            .await?
            .merge_config_map(
                hands,
                NAMESPACE,
                RECORD,
                &json!({
                    &self.trial.daemon.group: self.trial.fingerprint,
                    begun_key(&self.trial.daemon.group): null,
                }),
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{Fake, world};

    #[tokio::test]
    async fn another_form_of_the_group_is_not_on_record() {
        for (value, done) in [("f00", true), ("old", false)] {
            let fake = Fake::new().says(
                "get configmap",
                &format!(r#"{{"data":{{"k3s-agents-1":"{value}"}}}}"#),
            );
            let step = Recorded::new(&super::super::trial(false));
            let found = step.check(&world(&[("k3s-cp-1", &fake)])).await.unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done);
        }
    }
}
