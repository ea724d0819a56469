//! A worker group's API answers from every server: one that does not takes the whole autoscaler down.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::{Daemon, Plan, Server};
use crate::question::limited;
use crate::remote::Probe;
use crate::step_id::{StepId, StepName};
use crate::steps::support::connectivity;
use crate::steps::support::run_context::RunContext;
use crate::world::World;

/// A server that has not answered within this time cannot be asked; its own steps report why.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

pub(crate) struct GroupReachable {
    daemon: Daemon,
    needs: Vec<StepId>,
    after: Vec<StepId>,
    seen: Arc<RunContext>,
}

impl GroupReachable {
    pub(crate) fn new(plan: &Plan, daemon: &Daemon, seen: &Arc<RunContext>) -> Self {
        let mut needs = vec![
            StepName::DaemonAnswers.on(&daemon.group),
            StepName::Routes.on(&daemon.host),
        ];
        let mut after = Vec::new();
        for server in plan.servers_here() {
            // Where there is a cluster, one server that cannot be reached must not keep its groups out.
            match plan.founded {
                None => needs.push(StepName::VmReachable.on(&server.name)),
                Some(_) => after.push(StepName::VmReachable.on(&server.name)),
            }
            needs.push(StepName::Routes.on(&server.host));
            needs.extend(connectivity::routes_between(
                plan,
                &server.host,
                &daemon.host,
            ));
        }
        needs.sort();
        needs.dedup();
        Self {
            daemon: daemon.clone(),
            needs,
            after,
            seen: Arc::clone(seen),
        }
    }
}

/// Whether the Slicer API at `url` answers from a server; a failure where that server cannot be asked within [`ANSWER`].
pub(crate) async fn answers_from(world: &World, server: &Server, url: &str) -> Result<bool> {
    let probe = Probe::Http(format!("{url}/hostgroup"));
    let asked = async { world.server(server).await?.probe(&probe).await };
    let output = limited(ANSWER, asked).await.map_err(|_| {
        let what = format!("{} does not answer", server.name);
        Failure::new(Code::SshUnreachable, what)
            .because(format!("nothing within {} s", ANSWER.as_secs()))
    })??;
    // Any answer will do, a refusal without a token most of all: it is the way there that is asked about.
    Ok(matches!(output.stdout.trim().parse::<u16>(), Ok(100..=599)))
}

#[async_trait]
impl Step<World> for GroupReachable {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::GroupReachable.on(&self.daemon.group),
            format!("Reach {} from the servers", self.daemon.group),
            format!(
                "on a server: curl -m 5 {}/hostgroup; then `ip route` and `sudo iptables -S FORWARD` on {} and the \
                 servers' host",
                self.daemon.url(),
                self.daemon.host
            ),
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        .timeout(Duration::from_mins(1))
        .code(Code::Route)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let url = &self.daemon.url();
        let asked = world
            .plan
            .servers_here()
            .map(|server| async move { (server, answers_from(world, server, url).await) });
        let (mut reached, mut unreachable, mut unasked) = (0, Vec::new(), Vec::new());
        for (server, answered) in join_all(asked).await {
            match answered {
                Ok(true) => reached += 1,
                Ok(false) => unreachable.push(server),
                Err(failure) => unasked.push((server, failure)),
            }
        }
        let Some(first) = unreachable.first() else {
            // A server that cannot be asked says nothing of the group, and runs no autoscaler that we could hear of.
            if let Some((_, failure)) = unasked.first().filter(|_| reached == 0) {
                return Err(failure.clone());
            }
            self.seen.reachable(&self.daemon.group);
            let unasked: Vec<&str> = unasked.iter().map(|(it, _)| &*it.name).collect();
            return Ok(Finding::Done(if unasked.is_empty() {
                self.daemon.url()
            } else {
                format!(
                    "{}; {} could not be asked",
                    self.daemon.url(),
                    unasked.join(", ")
                )
            }));
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
            connectivity::broken(world, first, self.daemon.gateway(), &self.daemon.host).await
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Machine, Sudo};
    use crate::testing::{Fake, Hangs, plan, world};

    #[tokio::test]
    async fn one_server_that_gets_no_answer_is_enough_to_leave_the_group_out() {
        let (good, bad) = (
            Fake::new().says("curl", "401"),
            Fake::new().says("curl", "000"),
        );
        let plan = plan();
        let seen = Arc::new(RunContext::default());
        seen.has_join_token("k3s-agents-1");
        let step = GroupReachable::new(&plan, &plan.daemons[1], &seen);
        let mixed = world(&[("k3s-cp-1", &good), ("k3s-cp-2", &bad), ("k3s-cp-3", &good)]);
        let failure = step.check(&mixed, Phase::Before).await.unwrap_err();
        assert!(failure.to_string().contains("k3s-cp-2"));
        assert!(!seen.eligible_for_autoscaler("k3s-agents-1"));
        let all = world(&[
            ("k3s-cp-1", &good),
            ("k3s-cp-2", &good),
            ("k3s-cp-3", &good),
        ]);
        step.check(&all, Phase::Before).await.unwrap();
        assert!(seen.eligible_for_autoscaler("k3s-agents-1"));
    }

    /// One server whose SSH failed made every group unreachable.
    #[tokio::test(start_paused = true)]
    async fn groups_are_asked_from_those_servers_that_answer() {
        let good = Fake::new().says("curl", "401");
        let plan = plan();
        let seen = Arc::new(RunContext::default());
        seen.has_join_token("k3s-agents-1");
        let step = GroupReachable::new(&plan, &plan.daemons[1], &seen);
        // Their host is not connected.
        let alone = world(&[]);
        assert!(step.check(&alone, Phase::Before).await.is_err());
        assert!(!seen.eligible_for_autoscaler("k3s-agents-1"));
        let some = world(&[("k3s-cp-2", &good)]);
        let hangs = Machine::new("k3s-cp-1", Box::new(Hangs), Sudo::Root);
        some.put_server("k3s-cp-1", Arc::new(hangs));
        let found = step.check(&some, Phase::Before).await.unwrap();
        let Finding::Done(says) = found else {
            panic!("{found:?}")
        };
        assert!(
            says.contains("k3s-cp-1, k3s-cp-3 could not be asked"),
            "{says}"
        );
        assert!(seen.eligible_for_autoscaler("k3s-agents-1"));
    }
}
