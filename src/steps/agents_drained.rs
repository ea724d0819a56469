//! Before a daemon's restart ends its agents, their nodes are drained, as before any other removal. The autoscaler stands
//! still meanwhile, for it would make new agents in the same group; [`autoscaler_running`](super::autoscaler_running)
//! starts it again, whatever became of the drain.

use std::time::Duration;

use async_trait::async_trait;

use super::removal::{Drain, NodesDrained};
use super::restart::Cause;
use super::rotation::daemon_token;
use super::unit::Unit;
use super::{Options, daemon_current, daemon_running};
use crate::failure::Result;
use crate::generate::{AUTOSCALER, NAMESPACE};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan, Role};
use crate::world::World;

/// How long evictions may take.
const LIMIT: Duration = Duration::from_mins(5);

/// A cluster whose API does not answer within this time runs no pods that could be moved.
const ANSWER: Duration = Duration::from_secs(20);

pub(super) struct AgentsDrained {
    daemon: Daemon,
    cause: Cause,
    drain: NodesDrained,
}

fn id(group: &str) -> StepId {
    StepId::new("agents-drained", group)
}

/// What a restart of this daemon needs: nothing where it may cost no agents anyway.
pub(super) fn needs(plan: &Plan, daemon: &Daemon, allow_outage: bool) -> Vec<StepId> {
    let agents = |group: &&Daemon| allow_outage && group.role == Role::Workers;
    let groups = plan.carried(daemon).filter(agents);
    groups.map(|group| id(&group.group)).collect()
}

impl AgentsDrained {
    /// The step, where a restart needs it.
    pub(super) fn new(daemon: &Daemon, options: &Options, cause: Cause) -> Option<Self> {
        if !options.allow_outage || daemon.role != Role::Workers {
            return None;
        }
        let drain = Drain {
            limit: LIMIT,
            force: false,
        };
        Some(Self {
            daemon: daemon.clone(),
            cause,
            drain: NodesDrained::new(&daemon.group, drain, &[]),
        })
    }

    /// Whether the daemon runs and must restart.
    async fn restart_is_due(&self, world: &World) -> Result<bool> {
        match self.cause {
            Cause::Configuration => {
                let host = world.host(&self.daemon.host)?;
                let unit = Unit::look(host, &self.daemon.unit()).await?;
                Ok(unit.runs() && !daemon_current::holds(world, &self.daemon, host).await?)
            }
            Cause::Token => Ok(daemon_token::lacks(world, &self.daemon).await?.is_some()),
        }
    }
}

#[async_trait]
impl Step for AgentsDrained {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!("Drain {} before its daemon restarts", self.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![daemon_running::id(self.daemon.carrier())]
    }

    fn patience(&self) -> Duration {
        self.drain.patience()
    }

    fn hint(&self) -> String {
        "slicer-k3s kubectl get poddisruptionbudget -A; mend it and run again: until then the daemon runs on as it is"
            .into()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        if !self.restart_is_due(world).await? {
            return Ok(Finding::Done("no restart is due".into()));
        }
        match tokio::time::timeout(ANSWER, world.kubernetes()).await {
            Ok(Ok(_)) => {
                let found = self.drain.check(world).await;
                found.map_err(|failure| failure.hint(self.hint()))
            }
            _ => Ok(Finding::Done("no server answers".into())),
        }
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let kubernetes = world.kubernetes().await?;
        let deployment = ["deployment", "-n", NAMESPACE, AUTOSCALER];
        if kubernetes.get(&deployment).await?.is_some() {
            kubernetes.scale(hands, NAMESPACE, AUTOSCALER, 0).await?;
        }
        self.drain.apply(world, hands).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, plan, world};

    fn step() -> AgentsDrained {
        let options = crate::steps::tests::options();
        AgentsDrained::new(&plan().daemons[1], &options, Cause::Configuration).unwrap()
    }

    fn host(process: &str) -> Fake {
        Fake::new()
            .says("ActiveState", "ActiveState=active\nSubState=running\n")
            .says("environ", process)
    }

    const NODES: &str = r#"{"items":[{"metadata":{"name":"n"},"spec":{}}]}"#;

    /// Nobody's pods move for a daemon that goes on as it is.
    #[tokio::test]
    async fn only_a_restart_that_is_due_drains() {
        let daemon = plan().daemons[1].clone();
        let yaml = super::super::daemon_config::host_yaml(&world(&[]), &daemon).unwrap();
        let current = crate::secret::sha256(yaml.content.as_bytes());
        for (process, drains) in [(current.as_str(), false), ("0ld", true)] {
            let (host, server) = (host(process), Fake::new().says("/nodes", NODES));
            let world = world(&[("ryzen", &host), ("k3s-cp-1", &server)]);
            let found = step().check(&world).await.unwrap();
            assert_eq!(matches!(found, Finding::Differs(_)), drains, "{found:?}");
        }
    }

    /// It would make agents of the old size for the pods that are evicted, and they would die next.
    #[tokio::test]
    async fn the_autoscaler_stands_still_meanwhile() {
        let server = Fake::new()
            .says("/nodes", NODES)
            .says("get deployment", "{}");
        let world = world(&[("k3s-cp-1", &server)]);
        step().apply(&world, &hands()).await.unwrap();
        let told = server.told();
        let place = |words: &str| told.iter().position(|(command, _)| command.contains(words));
        assert!(place("--replicas 0").unwrap() < place("kubectl drain").unwrap());
    }
}
