//! A server's Node is Ready.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::kubernetes::condition;
use crate::names::kubernetes::{CONTROL_PLANE, READY, TRUE};
use crate::pipeline::{Finding, Step, WritePermit};
use crate::plan::Server;
use crate::step_id::{StepId, StepName};
use crate::world::World;

pub(crate) struct NodeReady {
    server: Server,
}

impl NodeReady {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

#[async_trait]
impl Step<World> for NodeReady {
    fn id(&self) -> StepId {
        StepName::NodeReady.on(&self.server.name)
    }

    fn title(&self) -> String {
        format!("Wait for Node {} to be Ready", self.server.name)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![StepName::K3sStarted.on(&self.server.name)]
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(400)
    }

    fn code(&self) -> Code {
        Code::K3sStart
    }

    fn hint(&self) -> String {
        format!(
            "slicer-k3s kubectl describe node {}, and on it: sudo journalctl -u k3s -n 50",
            self.server.name
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let node = crate::steps::server::parts::node::of(world, &self.server).await?;
        let Some(node) = node else {
            return Ok(Finding::Unknown("it has not registered yet".into()));
        };
        if node["metadata"]["labels"][CONTROL_PLANE] != "true" {
            return Ok(Finding::Unknown(
                "it is not labelled as a server yet".into(),
            ));
        }
        Ok(match condition(&node, READY) {
            Some(TRUE) => Finding::done(),
            _ => Finding::Unknown(not_ready(&node)),
        })
    }

    /// k3s does it.
    async fn apply(&self, _: &World, _: &WritePermit) -> Result<()> {
        Ok(())
    }
}

/// The kubelet's own reason.
fn not_ready(node: &serde_json::Value) -> String {
    node["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|condition| condition["type"] == READY))
        .and_then(|condition| condition["message"].as_str())
        .unwrap_or("its kubelet has not reported yet")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, NOT_FOUND, plan, world};

    #[tokio::test]
    async fn a_node_without_the_servers_label_is_not_done() {
        let ready = r#""status":{"conditions":[{"type":"Ready","status":"True"}]}"#;
        let labels = r#""metadata":{"labels":{"node-role.kubernetes.io/control-plane":"true"}}"#;
        for (node, done) in [
            (format!("{{{ready},{labels}}}"), true),
            (format!("{{{ready}}}"), false),
            (format!("{{{labels}}}"), false),
            (NOT_FOUND.to_owned(), false),
        ] {
            let fake = Fake::new().says("/nodes/", &node);
            let step = NodeReady::new(&plan().servers[0]);
            let found = step.check(&world(&[("k3s-cp-1", &fake)])).await.unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{node}");
        }
    }
}
