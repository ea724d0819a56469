//! Every server is Ready and votes: only then can they be restarted in turn without losing the quorum.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use crate::failure::Result;
use crate::kubernetes::condition;
use crate::names::k3s::VOTES;
use crate::names::kubernetes::{READY, TRUE};
use crate::pipeline::{Finding, Step, WritePermit};
use crate::step_id::{StepId, StepName};
use crate::steps::server::parts::node;
use crate::world::World;

pub(crate) struct ServersWhole {
    patience: Duration,
}

impl ServersWhole {
    /// Where nothing has been done yet that could keep a server down.
    pub(crate) fn at_first() -> Self {
        Self {
            patience: Duration::from_mins(1),
        }
    }

    /// Where a run before may have rebooted servers, which come back by themselves.
    pub(crate) fn on_their_way_back() -> Self {
        Self {
            patience: Duration::from_mins(5),
        }
    }
}

#[async_trait]
impl Step<World> for ServersWhole {
    fn id(&self) -> StepId {
        StepName::ServersWhole.on_cluster()
    }

    fn title(&self) -> String {
        "See that every server is Ready and votes".into()
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn hint(&self) -> String {
        "slicer-k3s kubectl get nodes; bring every server up, then run again".into()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
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

    /// Other commands bring servers up; what is left is time.
    async fn apply(&self, _: &World, _: &WritePermit) -> Result<()> {
        Ok(())
    }
}
