//! Every server is Ready and votes: only then can they be restarted in turn without losing the quorum.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use crate::failure::Result;
use crate::kubernetes::condition;
use crate::names::k3s::VOTES;
use crate::names::kubernetes::{READY, TRUE};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::step_id::StepName;
use crate::steps::server::parts::node;
use crate::world::World;

pub(crate) struct ServersWhole {
    timeout: Duration,
}

impl ServersWhole {
    /// Where nothing has been done yet that could keep a server down.
    pub(crate) fn at_first() -> Self {
        Self {
            timeout: Duration::from_mins(1),
        }
    }

    /// Where a run before may have rebooted servers, which come back by themselves.
    pub(crate) fn on_their_way_back() -> Self {
        Self {
            timeout: Duration::from_mins(5),
        }
    }
}

#[async_trait]
impl Step<World> for ServersWhole {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ServersWhole.on_cluster(),
            "See that every server is Ready and votes",
            "slicer-k3s kubectl get nodes; bring every server up, then run again",
        )
        .timeout(self.timeout)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let nodes = world
            .plan
            .servers
            .iter()
            .map(|server| node::of(world, server));
        let nodes = try_join_all(nodes).await?;
        for (server, node) in world.plan.servers.iter().zip(nodes) {
            let holds = |kind: &str| {
                node.as_ref()
                    .is_some_and(|node| condition(node, kind) == Some(TRUE))
            };
            if !holds(READY) || !holds(VOTES) {
                let why = format!("{} is not a Ready voter", server.name);
                return Ok(Finding::Unknown(why));
            }
        }
        Ok(Finding::done())
    }
}
