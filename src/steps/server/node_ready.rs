//! A server's Node is Ready.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::kubernetes::condition;
use crate::names::kubernetes::{CONTROL_PLANE, READY, TRUE};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::Server;
use crate::step_id::StepName;
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
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::NodeReady.on(&self.server.name),
            format!("Wait for Node {} to be Ready", self.server.name),
            format!(
                "slicer-k3s kubectl describe node {}, and on it: sudo journalctl -u k3s -n 50",
                self.server.name
            ),
        )
        .needs([StepName::K3sStarted.on(&self.server.name)])
        .timeout(Duration::from_mins(3))
        .poll_interval(Duration::from_millis(400))
        .code(Code::K3sStart)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
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
            let found = step
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{node}");
        }
    }
}
