//! Before agents end, by a restart of their daemon or because others take their place, their nodes are drained, as before
//! any other removal. The autoscaler is stopped meanwhile, for it would make new agents in the same group;
//! [`autoscaler_running`](super::autoscaler_running) starts it again, or where that is not reached
//! [`autoscaler_resumed`](super::autoscaler_resumed).

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::names::autoscaler::{AUTOSCALER, NAMESPACE};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan, Role};
use crate::question::limited;
use crate::step_id::{StepId, StepName};
use crate::steps::Options;
use crate::steps::group::nodes_drained::{Drain, NodesDrained};
use crate::steps::group::parts::local_data;
use crate::steps::restart::RestartReason;
use crate::steps::restart::has_read::Process;
use crate::steps::rotation::{agents_replaced, daemon_token};
use crate::steps::support::api;
use crate::steps::support::api::Api;
use crate::steps::support::unit::Unit;
use crate::world::World;

/// How long evictions may take.
const LIMIT: Duration = Duration::from_mins(5);

/// A cluster none of whose servers can be reached within this time runs no pods that could be moved.
const ANSWER: Duration = Duration::from_secs(20);

/// How the agents are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Their daemon restarts.
    Restart(RestartReason),
    /// It restarts to make a new disk for one of its servers.
    Disk,
    /// They joined by a token that was replaced, and must not stay.
    Replacement,
}

pub(crate) struct AgentsDrained {
    daemon: Daemon,
    end: End,
    /// Data on their disks may go with them.
    local_data: bool,
    drain: NodesDrained,
}

/// What a restart of this daemon needs: nothing where it may cost no agents anyway.
pub(crate) fn needs(plan: &Plan, daemon: &Daemon, allow_outage: bool) -> Vec<StepId> {
    let agents = |group: &&Daemon| allow_outage && group.role == Role::Workers;
    let groups = plan.carried(daemon).filter(agents);
    groups
        .map(|group| StepName::AgentsDrained.on(&group.group))
        .collect()
}

impl AgentsDrained {
    /// The step, where a restart needs it.
    pub(crate) fn new(daemon: &Daemon, options: &Options, cause: RestartReason) -> Option<Self> {
        let ends = options.allow_outage && daemon.role == Role::Workers;
        ends.then(|| Self::before(daemon, End::Restart(cause), options))
    }

    /// The step for agents that others replace.
    pub(crate) fn for_replacement(daemon: &Daemon, options: &Options) -> Self {
        Self::before(daemon, End::Replacement, options)
    }

    /// The same for agents whose daemon restarts to make a disk, which only turns out when Slicer refuses to do without.
    pub(crate) fn for_a_disk(daemon: &Daemon, options: &Options) -> Self {
        Self::before(daemon, End::Disk, options)
    }

    fn before(daemon: &Daemon, end: End, options: &Options) -> Self {
        let drain = Drain {
            limit: LIMIT,
            force: false,
        };
        Self {
            daemon: daemon.clone(),
            end,
            local_data: options.delete_local_data,
            drain: NodesDrained::new(&daemon.group, drain, &[]),
        }
    }

    /// Whether there are agents that are about to end, as far as that can be said.
    pub(crate) async fn is_due(&self, world: &World) -> Result<bool> {
        match self.end {
            End::Replacement => {
                let outdated = agents_replaced::outdated(world, &self.daemon).await?;
                Ok(!outdated.is_empty())
            }
            End::Restart(RestartReason::Configuration) => {
                let host = world.host(&self.daemon.host)?;
                let unit = Unit::look(host, &self.daemon.unit()).await?;
                Ok(unit.runs() && !Process::Daemon(&self.daemon).has_read(world, host).await?)
            }
            End::Restart(RestartReason::Token) => {
                Ok(daemon_token::lacks(world, &self.daemon).await?.is_some())
            }
            End::Disk => Ok(true),
        }
    }

    /// Whether the agents end also where no server answers: their daemon may have to restart for the servers to come back.
    fn ends_undrained(&self) -> bool {
        matches!(
            self.end,
            End::Restart(RestartReason::Configuration) | End::Disk
        )
    }

    /// Drains in the midst of another step, and waits for it.
    pub(crate) async fn drained(&self, world: &World, permit: &WritePermit) -> Result<()> {
        if let Finding::Done(_) = self.check(world, Phase::Before).await? {
            return Ok(());
        }
        self.apply(world, permit).await?;
        let begin = Instant::now();
        loop {
            let why = match self.check(world, Phase::Before).await {
                Ok(Finding::Done(_)) => return Ok(()),
                Ok(Finding::Differs(why) | Finding::Unknown(why)) => why,
                Err(failure) if failure.is_permanent() => return Err(failure),
                Err(failure) => failure.to_string(),
            };
            if begin.elapsed() >= self.meta().timeout {
                let what = format!("{} cannot be drained", self.daemon.group);
                return Err(Failure::new(Code::Kubernetes, what)
                    .because(why)
                    .hint(self.meta().hint));
            }
            tokio::time::sleep(self.meta().poll_interval).await;
        }
    }
}

#[async_trait]
impl Step<World> for AgentsDrained {
    fn meta(&self) -> Meta {
        let title = match self.end {
            End::Restart(_) | End::Disk => {
                format!("Drain {} before its daemon restarts", self.daemon.group)
            }
            End::Replacement => {
                format!("Drain {} before its agents are replaced", self.daemon.group)
            }
        };
        Meta::new(
            StepName::AgentsDrained.on(&self.daemon.group),
            title,
            "slicer-k3s kubectl get poddisruptionbudget -A; make room for the evictions and run \
             again: until then the agents stay",
        )
        .needs([StepName::DaemonRunning.on(self.daemon.carrier())])
        .timeout(self.drain.meta().timeout)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        if !self.is_due(world).await? {
            return Ok(Finding::Done("no agents are about to end".into()));
        }
        match limited(ANSWER, world.kubernetes()).await {
            Ok(Ok(_)) => {
                let found = self.drain.check(world, Phase::Before).await;
                found.map_err(|failure| failure.hint(self.meta().hint))
            }
            Ok(Err(_)) | Err(_)
                if self.ends_undrained() && matches!(api::api(world).await?, Api::Down(_)) =>
            {
                Ok(Finding::Done("no server answers".into()))
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::new(
                Code::Kubernetes,
                format!("{} cannot be drained", self.daemon.group),
            )
            .because(format!("no server answers within {} s", ANSWER.as_secs()))
            .hint(
                "slicer-k3s status shows which servers are up; until they answer the agents stay",
            )),
        }
    }

    async fn cancel(&self, world: &World, permit: &WritePermit) -> Option<String> {
        self.drain.cancel(world, permit).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        // Claims may have come since the plan was agreed to.
        let loss = local_data::of_groups(world, &[&self.daemon.group]).await;
        loss.permitted(self.local_data)?;
        let kubernetes = world.kubernetes().await?;
        let deployment = ["deployment", "-n", NAMESPACE, AUTOSCALER];
        if kubernetes.get(&deployment).await?.is_some() {
            kubernetes.scale(permit, NAMESPACE, AUTOSCALER, 0).await?;
        }
        self.drain.apply(world, permit).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::remote::{Machine, Sudo};
    use crate::testing::{Fake, Hangs, machine, permit, plan, secrets, world};

    fn step() -> AgentsDrained {
        let options = crate::testing::options();
        AgentsDrained::new(&plan().daemons[1], &options, RestartReason::Configuration).unwrap()
    }

    fn host(process: &str) -> Fake {
        Fake::new()
            .says("ActiveState", "ActiveState=active\nSubState=running\n")
            .says("environ", process)
    }

    const NODES: &str =
        r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n"},"spec":{}}]}"#;

    /// Nobody's pods move for a daemon that goes on as it is.
    #[tokio::test]
    async fn only_a_restart_that_is_due_drains() {
        let daemon = plan().daemons[1].clone();
        let yaml = crate::steps::daemon::config::host_yaml(&world(&[]), &daemon).unwrap();
        let current = crate::secret::sha256(yaml.content.as_bytes());
        for (process, drains) in [(current.as_str(), false), ("0ld", true)] {
            let (host, server) = (host(process), Fake::new().says("/nodes", NODES));
            let world = world(&[("ryzen", &host), ("k3s-cp-1", &server)]);
            let found = step().check(&world, Phase::Before).await.unwrap();
            assert_eq!(matches!(found, Finding::Differs(_)), drains, "{found:?}");
        }
    }

    /// A first server that hangs was taken for a cluster without pods, and a token is no reason to end agents undrained.
    #[tokio::test(start_paused = true)]
    async fn agents_end_undrained_only_where_no_server_can_be_reached_and_theirs_must_restart() {
        let hangs = || Arc::new(Machine::new("n100", Box::new(Hangs), Sudo::Root));
        let (host, server) = (host("0ld"), Fake::new().says("/nodes", NODES));
        let ryzen = Arc::new(machine("ryzen", host));
        let hosts = HashMap::from([("n100".to_owned(), hangs()), ("ryzen".to_owned(), ryzen)]);
        let world = || World::new(plan(), secrets(), hosts.clone());
        let found = step().check(&world(), Phase::Before).await.unwrap();
        assert_eq!(found, Finding::Done("no server answers".into()));

        let others = world();
        others.put_server("k3s-cp-3", Arc::new(machine("k3s-cp-3", server)));
        let found = step().check(&others, Phase::Before).await.unwrap();
        assert!(matches!(found, Finding::Differs(_)), "{found:?}");

        let has_join_token = r#"[{"name":"k3s-token","mod_time":"2026-05-01T10:00:00Z"}]"#;
        let fake = Fake::new().says("GET /hostgroup", r#"[{"hostname":"k3s-agents-1-1"}]"#);
        let fake = fake
            .says("GET /secrets", has_join_token)
            .says("auth/token", "t\n");
        let ryzen = Arc::new(machine("ryzen", fake));
        let hosts = HashMap::from([("n100".to_owned(), hangs()), ("ryzen".to_owned(), ryzen)]);
        let world = World::new(plan(), secrets(), hosts);
        let replaced =
            AgentsDrained::for_replacement(&plan().daemons[1], &crate::testing::options());
        assert!(replaced.check(&world, Phase::Before).await.is_err());
    }

    /// Its pods run on: a server that refuses us is up, and agents ended with all that ran on them.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_refuses_us_is_not_taken_for_one_that_is_off() {
        let refuses = Fake::new()
            .says("auth/token", "t0ken\n")
            .answers("POST /vm/", 401, "{}");
        let world = world(&[("ryzen", &host("0ld")), ("n100", &refuses)]);
        let failure = step().check(&world, Phase::Before).await.unwrap_err();
        assert_eq!(failure.code, Code::SlicerToken);
    }

    /// A claim that was bound between the plan and the drain, for which nobody was asked, went with its agent.
    #[tokio::test]
    async fn claims_that_have_come_since_the_plan_are_asked_for_before_the_drain() {
        const VOLUMES: &str = r#"{"kind":"List","metadata":{},"items":[{"spec":{"local":{"path":"/x"},"claimRef":{"namespace":"default","name":"late"},
            "nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["k3s-agents-1-4-00ff00ff"]}]}]}}}}]}"#;
        for (allowed, drains) in [(false, false), (true, true)] {
            let server = Fake::new()
                .says("/persistentvolumes?", VOLUMES)
                .says("/nodes", NODES)
                .says("/deployments", "{}");
            let world = world(&[("k3s-cp-1", &server)]);
            let options = Options {
                delete_local_data: allowed,
                ..crate::testing::options()
            };
            let daemon = &plan().daemons[1];
            let step = AgentsDrained::new(daemon, &options, RestartReason::Configuration).unwrap();
            let drained = step.apply(&world, &permit()).await;
            assert_eq!(server.was_told("kubectl drain"), drains);
            assert_eq!(server.was_told("--replicas 0"), drains);
            assert_eq!(
                drained.err().map(|failure| failure.code),
                (!drains).then_some(Code::LocalData)
            );
        }
    }

    /// It would make agents of the old size for the pods that are evicted, and they would die next.
    #[tokio::test]
    async fn the_autoscaler_stands_still_meanwhile() {
        let server = Fake::new().says("/nodes", NODES).says("/deployments", "{}");
        let world = world(&[("k3s-cp-1", &server)]);
        step().apply(&world, &permit()).await.unwrap();
        let told = server.told();
        let place = |words: &str| told.iter().position(|(command, _)| command.contains(words));
        assert!(place("--replicas 0").unwrap() < place("kubectl drain").unwrap());
    }
}
