//! A worker group's API answers from every server: one that does not takes the whole autoscaler down.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::seen::Seen;
use super::way;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Daemon, Plan, Server};
use crate::remote::Look;
use crate::world::World;

pub(super) struct GroupReachable {
    daemon: Daemon,
    needs: Vec<StepId>,
    seen: Arc<Seen>,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("group-reachable", group)
}

impl GroupReachable {
    pub(super) fn new(plan: &Plan, daemon: &Daemon, seen: &Arc<Seen>) -> Self {
        let mut needs = vec![
            super::daemon_answers::id(&daemon.group),
            super::routes::id(&daemon.host),
        ];
        for server in plan.servers_here() {
            needs.push(super::vm_reachable::id(&server.name));
            needs.push(super::routes::id(&server.host));
            needs.extend(way::routes_between(plan, &server.host, &daemon.host));
        }
        needs.sort();
        needs.dedup();
        Self {
            daemon: daemon.clone(),
            needs,
            seen: Arc::clone(seen),
        }
    }

    /// The server where the API does not answer from it.
    async fn unreachable_from<'s>(
        &self,
        world: &World,
        server: &'s Server,
    ) -> Result<Option<&'s Server>> {
        let url = format!("{}/hostgroup", self.daemon.url());
        let output = world.server(server).await?.look(&Look::Http(url)).await?;
        // Any answer will do, a refusal without a token most of all: it is the way there that is asked about.
        let answered = matches!(output.stdout.trim().parse::<u16>(), Ok(100..=599));
        Ok((!answered).then_some(server))
    }
}

#[async_trait]
impl Step for GroupReachable {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!("Reach {} from the servers", self.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn code(&self) -> Code {
        Code::Route
    }

    fn hint(&self) -> String {
        let url = self.daemon.url();
        format!(
            "on a server: curl -m 5 {url}/hostgroup; then `ip route` and `sudo iptables -S FORWARD` on {} and the servers' host",
            self.daemon.host
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let asked = world
            .plan
            .servers_here()
            .map(|server| self.unreachable_from(world, server));
        let unreachable: Vec<&Server> = try_join_all(asked).await?.into_iter().flatten().collect();
        let Some(first) = unreachable.first() else {
            self.seen.reachable(&self.daemon.group);
            return Ok(Finding::Done(self.daemon.url()));
        };
        Err(Failure::new(
            Code::Route,
            format!("{} does not answer from the servers", self.daemon.url()),
        )
        .because(format!(
            "no answer within 5 s from {}; {}",
            unreachable
                .iter()
                .map(|server| &*server.name)
                .collect::<Vec<_>>()
                .join(", "),
            way::broken(world, first, self.daemon.gateway(), &self.daemon.host).await
        )))
    }

    /// Routes and daemon are steps of their own; what is left is time.
    async fn apply(&self, _: &World, _: &Hands) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{Fake, plan, world};

    #[tokio::test]
    async fn one_server_that_gets_no_answer_is_enough_to_leave_the_group_out() {
        let (good, bad) = (
            Fake::new().says("curl", "401"),
            Fake::new().says("curl", "000"),
        );
        let plan = plan();
        let seen = Arc::new(Seen::default());
        seen.armed("k3s-agents-1");
        let step = GroupReachable::new(&plan, &plan.daemons[1], &seen);
        let mixed = world(&[("k3s-cp-1", &good), ("k3s-cp-2", &bad), ("k3s-cp-3", &good)]);
        let failure = step.check(&mixed).await.unwrap_err();
        assert!(failure.to_string().contains("k3s-cp-2"));
        assert!(!seen.is_fit("k3s-agents-1"));
        let all = world(&[
            ("k3s-cp-1", &good),
            ("k3s-cp-2", &good),
            ("k3s-cp-3", &good),
        ]);
        step.check(&all).await.unwrap();
        assert!(seen.is_fit("k3s-agents-1"));
    }
}
