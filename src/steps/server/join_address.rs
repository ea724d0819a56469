//! A server's file names the server that it would join without data: of the first one's the second as soon as that votes, in
//! the place of `cluster-init`, of the others' the first one. From then on an empty disk cannot found a second cluster,
//! whichever server it belongs to.

use async_trait::async_trait;

use crate::control_plane::{ControlPlane, Start};
use crate::failure::Result;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Plan, Server};
use crate::step_id::{StepId, StepName};
use crate::steps::support::file::File;
use crate::world::World;
use crate::{generate, k3s};

pub(crate) struct JoinAddress {
    server: Server,
    other: Server,
    needs: Vec<StepId>,
}

impl JoinAddress {
    /// Where its file may name another one until then: the first server's of a cluster that is being made, and that of
    /// one that came back through whoever answered.
    pub(crate) fn new(plan: &Plan, server: &Server, control_plane: &ControlPlane) -> Option<Self> {
        let other = k3s::joins_finally(plan, server)?;
        let mut needs = vec![StepName::K3sStarted.on(&server.name)];
        if k3s::joins(plan, server).is_none() {
            // Only a server that votes can give a lost one its cluster back.
            plan.host(&other.host)?;
            needs.push(StepName::EtcdVoter.on(&other.name));
        } else {
            match control_plane.start(&server.name) {
                Start::Join { via, .. } if *via != other.name => {}
                Start::Undecided => {}
                _ => return None,
            }
        }
        Some(Self {
            server: server.clone(),
            other: other.clone(),
            needs,
        })
    }

    fn files(&self, world: &World) -> Result<Vec<File>> {
        let other = Some(&self.other);
        generate::server_files_joining(&world.plan, &self.server, other, &world.secrets)
    }
}

#[async_trait]
impl Step<World> for JoinAddress {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::JoinAddress.on(&self.server.name),
            format!(
                "Let {} join {} if it ever loses its data",
                self.server.name, self.other.name
            ),
            format!("on {}: df -h /etc", self.server.name),
        )
        .needs(self.needs.clone())
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        for file in self.files(world)? {
            if let Some(why) = file.differs(machine).await? {
                return Ok(Finding::Differs(why));
            }
        }
        Ok(Finding::done())
    }

    /// k3s goes by it only where it has no data: nothing is restarted.
    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let machine = world.server(&self.server).await?;
        for file in self.files(world)? {
            file.write(machine, permit).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Founded;
    use crate::testing::{Fake, permit, plan, world};

    fn step(plan: &Plan, server: usize, start: Start) -> Option<JoinAddress> {
        let server = &plan.servers[server];
        let control_plane = ControlPlane {
            starts: [(server.name.clone(), start)].into(),
            ..ControlPlane::default()
        };
        JoinAddress::new(plan, server, &control_plane)
    }

    #[tokio::test]
    async fn it_replaces_cluster_init_and_starts_nothing() {
        let plan = plan();
        let step = step(&plan, 0, Start::Found).unwrap();
        let fake = Fake::new().answers("stat -c", 1, "");
        let world = world(&[("k3s-cp-1", &fake)]);
        step.apply(&world, &permit()).await.unwrap();
        let written: Vec<String> = fake.told().into_iter().map(|(_, stdin)| stdin).collect();
        assert!(
            written
                .iter()
                .any(|text| text.contains("server: https://192.168.137.3:6443"))
        );
        assert!(!written.iter().any(|text| text.contains("cluster-init")));
        assert!(!fake.was_told("systemctl"));
    }

    #[test]
    fn it_is_for_a_founding_server_and_for_one_that_came_back_through_another() {
        let mut plan = plan();
        let join = |via: &str| Start::Join {
            via: via.into(),
            stale: true,
        };
        assert!(step(&plan, 1, join("k3s-cp-1")).is_none());
        plan.founded = Some(Founded {
            ca: "ca".into(),
            voters: ["k3s-cp-2".to_owned(), "k3s-cp-3".to_owned()].into(),
        });
        assert!(step(&plan, 0, Start::Member).is_none());
        assert!(step(&plan, 0, join("k3s-cp-2")).is_none());
        let back = step(&plan, 0, join("k3s-cp-3")).unwrap();
        assert_eq!(back.other.name, "k3s-cp-2");
        plan.servers.truncate(1);
        assert!(step(&plan, 0, Start::Found).is_none());
    }
}
