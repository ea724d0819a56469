//! A server's Node has the taint that keeps ordinary pods off, where cluster.toml asks for it, and does not have it elsewhere.

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::k3s::SERVER_TAINT;
use crate::kubernetes::{Kubernetes, has_taint};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Server;
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct ServerTaint {
    server: Server,
}

impl ServerTaint {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

#[async_trait]
impl Step<World> for ServerTaint {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ServerTaint.on(&self.server.name),
            format!("Set the taint of {}", self.server.name),
            format!("slicer-k3s kubectl describe node {}", self.server.name),
        )
        .needs([StepName::NodeReady.on(&self.server.name)])
        .code(Code::Kubernetes)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let Some(node) = crate::steps::server::parts::node::of(world, &self.server).await? else {
            return Ok(Finding::differs("its Node is not there"));
        };
        Ok(
            match (world.plan.k3s.taint, has_taint(&node, SERVER_TAINT)) {
                (true, false) => Finding::differs(format!("its Node has no {SERVER_TAINT}")),
                (false, true) => Finding::differs(format!("its Node has {SERVER_TAINT}")),
                _ => Finding::done(),
            },
        )
    }

    /// The kubelet sets taints only when it registers its Node (k3s@af977adf pkg/daemons/agent/agent.go,
    /// `RegisterWithTaints`), so that a change needs no restart, and none would bring it.
    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let kubernetes = Kubernetes::on(world.server(&self.server).await?.clone());
        let (name, set) = (&self.server.name, world.plan.k3s.taint);
        kubernetes.taint(permit, name, SERVER_TAINT, set).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, plan, world};

    const TAINTED: &str = r#"{"spec":{"taints":[{"key":"node-role.kubernetes.io/control-plane","value":"true","effect":"NoSchedule"}]}}"#;
    const BY_HAND: &str = r#"{"spec":{"taints":[{"key":"node-role.kubernetes.io/control-plane","effect":"NoSchedule"}]}}"#;

    /// k3s's own key is read at registration only: a change in cluster.toml would otherwise change nothing.
    #[tokio::test]
    async fn a_changed_taint_reaches_the_node() {
        for (taint, node, command) in [
            (true, "{}", Some("control-plane=true:NoSchedule")),
            (true, TAINTED, None),
            (false, TAINTED, Some("control-plane=true:NoSchedule-")),
            (false, "{}", None),
            // What somebody set by hand stays.
            (false, BY_HAND, None),
        ] {
            let fake = Fake::new().says("/nodes/", node);
            let mut world = world(&[("k3s-cp-1", &fake)]);
            world.plan.k3s.taint = taint;
            let step = ServerTaint::new(&plan().servers[0]);
            let found = step.check(&world, Phase::Before).await.unwrap();
            assert_eq!(
                matches!(found, Finding::Differs(_)),
                command.is_some(),
                "{taint} {node}"
            );
            if let Some(command) = command {
                step.apply(&world, &permit()).await.unwrap();
                assert!(fake.was_told(command));
            }
        }
    }
}
