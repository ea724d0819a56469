//! A server is a voting member of etcd: only then does the cluster survive the loss of another.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::kubernetes::condition;
use crate::names::k3s::{MEMBERS_PATH, VOTES, local_api};
use crate::names::kubernetes::TRUE;
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::Server;
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct EtcdVoter {
    server: Server,
}

impl EtcdVoter {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

#[async_trait]
impl Step<World> for EtcdVoter {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::EtcdVoter.on(&self.server.name),
            format!("Wait for {} to vote in etcd", self.server.name),
            format!(
                "on {}: curl -sk {}",
                self.server.name,
                local_api(MEMBERS_PATH)
            ),
        )
        .needs([StepName::NodeReady.on(&self.server.name)])
        // The leader promotes one learner at a time, on a ticker of 15 s.
        .timeout(Duration::from_mins(3))
        .code(Code::K3sStart)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let node = crate::steps::server::parts::node::of(world, &self.server).await?;
        let voter = node.as_ref().and_then(|node| condition(node, VOTES));
        Ok(match voter {
            Some(TRUE) => Finding::done(),
            Some(_) => Finding::Unknown("it is a learner, not a voter yet".into()),
            None => Finding::Unknown("etcd's leader has not said yet".into()),
        })
    }
}
