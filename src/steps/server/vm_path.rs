//! A server and those that were there before it on other hosts reach each other: without a way between their VMs etcd
//! never counts it as a member, and a join would only tell that time ran out.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::{Plan, Server};
use crate::step_id::{StepId, StepName};
use crate::steps::support::connectivity;
use crate::world::World;

/// Every VM listens there, long before k3s does.
const SSH: u16 = 22;

pub(crate) struct VmPath {
    server: Server,
    others: Vec<Server>,
}

impl VmPath {
    /// Where earlier servers run on other hosts.
    pub(crate) fn new(plan: &Plan, server: &Server) -> Option<Self> {
        let others: Vec<Server> = plan
            .servers_here()
            .take_while(|other| other.name != server.name)
            .filter(|other| other.host != server.host)
            .cloned()
            .collect();
        (!others.is_empty()).then(|| Self {
            server: server.clone(),
            others,
        })
    }

    /// Why one VM does not reach the other, or nothing.
    async fn gap(&self, world: &World, from: &Server, to: &Server) -> Result<Option<Failure>> {
        if connectivity::open(world, from, to.address, SSH).await? {
            return Ok(None);
        }
        let (near, far) = (&from.name, &to.name);
        Ok(Some(
            Failure::new(
                Code::Route,
                format!(
                    "{near} on {} does not reach {far} on {}",
                    from.host, to.host
                ),
            )
            .because(connectivity::broken(world, from, to.address, &to.host).await),
        ))
    }
}

#[async_trait]
impl Step<World> for VmPath {
    fn meta(&self) -> Meta {
        let others: Vec<&str> = self.others.iter().map(|other| &*other.name).collect();
        let both = self.others.iter().chain([&self.server]);
        let needs: BTreeSet<StepId> = both
            .flat_map(|server| {
                [
                    StepName::VmReachable.on(&server.name),
                    StepName::Routes.on(&server.host),
                    StepName::OwnAddresses.on(&server.host),
                ]
            })
            .collect();
        Meta::new(
            StepName::VmPath.on(&self.server.name),
            format!(
                "Find a way between {} and {}",
                self.server.name,
                others.join(", ")
            ),
            "run again once the machines named above let packets through; `ip route get ADDRESS` \
             on each shows the way",
        )
        .needs(needs)
        .timeout(Duration::from_secs(20))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let both = self.others.iter().flat_map(|other| {
            [(&self.server, other), (other, &self.server)]
                .map(|(from, to)| self.gap(world, from, to))
        });
        match try_join_all(both).await?.into_iter().flatten().next() {
            Some(failure) => Err(failure),
            None => Ok(Finding::done()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::testing::{Fake, plan, world};

    #[tokio::test]
    async fn both_directions_count_and_one_host_needs_no_proof() {
        let mut plan = plan();
        assert!(VmPath::new(&plan, &plan.servers[1]).is_none());
        plan.servers[1].host = "ryzen".into();
        assert!(VmPath::new(&plan, &plan.servers[0]).is_none());
        let step = VmPath::new(&plan, &plan.servers[1]).unwrap();
        // A join that began before would meet masqueraded peers.
        for host in ["n100", "ryzen"] {
            assert!(step.meta().needs.contains(&StepName::OwnAddresses.on(host)));
        }
        let (good, bad) = (Fake::new(), Fake::new().answers("/dev/tcp", 124, ""));
        let all = world(&[("k3s-cp-1", &good), ("k3s-cp-2", &good)]);
        step.check(&all, Phase::Before).await.unwrap();
        let back = world(&[("k3s-cp-1", &bad), ("k3s-cp-2", &good)]);
        let failure = step
            .check(&back, Phase::Before)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            failure.contains("k3s-cp-1 on n100 does not reach k3s-cp-2"),
            "{failure}"
        );
    }
}
