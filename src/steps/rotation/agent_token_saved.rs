//! The cluster's bootstrap data hold the new agent token: k3s saves them when it founds a cluster and when the server token
//! is replaced, but not when its configuration names another agent token.

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::step_id::StepName;
use crate::steps::rotation::parts::put_token::put;
use crate::world::World;

pub(crate) struct AgentTokenSaved {
    /// The first server that runs with the new token.
    server: Server,
}

impl AgentTokenSaved {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

#[async_trait]
impl Step<World> for AgentTokenSaved {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::AgentTokenSaved.on_cluster(),
            "Save the new agent token in the cluster's data",
            format!(
                "on {}: sudo journalctl -u k3s -n 50; then run again",
                self.server.name
            ),
        )
        .needs([StepName::K3sStarted.on(&self.server.name)])
        .code(Code::Kubernetes)
    }

    async fn check(&self, _: &World, phase: Phase) -> Result<Finding> {
        // Nothing can be asked for what the data hold; saving them again changes nothing.
        Ok(if phase == Phase::After {
            Finding::done()
        } else {
            Finding::differs("k3s does not save it by itself")
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = world.server(&self.server).await?;
        let token = &world.secrets.server_token;
        put(machine, permit, token, token).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, plan, world};

    /// With the server token unchanged, or every server would be locked out of its data.
    #[tokio::test]
    async fn the_server_token_stays_the_same() {
        let fake = Fake::new().says("/v1-k3s/token", "200");
        let world = world(&[("k3s-cp-1", &fake)]);
        let step = AgentTokenSaved::new(&plan().servers[0]);
        step.apply(&world, &permit()).await.unwrap();
        let told = fake.told();
        let (command, stdin) = &told[0];
        assert!(!command.contains("5e7ve7"));
        assert_eq!(stdin.matches("5e7ve7").count(), 2, "{stdin}");
        assert_eq!(
            step.check(&world, Phase::After).await.unwrap(),
            Finding::done()
        );
    }
}
