//! The first server's file names another server as soon as that one votes, in the place of `cluster-init`: from then on an
//! empty disk cannot found a second cluster, whichever server it belongs to.

use async_trait::async_trait;

use super::file::File;
use crate::failure::Result;
use crate::generate;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::{Plan, Server};
use crate::world::World;

pub(super) struct JoinAddress {
    first: Server,
    second: Server,
}

impl JoinAddress {
    /// Where the first server's file may still found a cluster, and the second server is to vote in this run.
    pub(super) fn new(plan: &Plan) -> Option<Self> {
        let [first, second, ..] = plan.servers.as_slice() else {
            return None;
        };
        let is_here = |server: &Server| plan.host(&server.host).is_some();
        let founding = plan
            .founded
            .as_ref()
            .is_none_or(|founded| !founded.outlives_a_server());
        (founding && is_here(first) && is_here(second)).then(|| Self {
            first: first.clone(),
            second: second.clone(),
        })
    }

    fn files(&self, world: &World) -> Result<Vec<File>> {
        let second = Some(&self.second);
        generate::server_files_joining(&world.plan, &self.first, second, &world.secrets)
    }
}

#[async_trait]
impl Step for JoinAddress {
    fn id(&self) -> StepId {
        StepId::new("join-address", &self.first.name)
    }

    fn title(&self) -> String {
        format!(
            "Let {} join {} if it ever loses its data",
            self.first.name, self.second.name
        )
    }

    fn needs(&self) -> Vec<StepId> {
        vec![
            super::k3s_started::id(&self.first.name),
            super::etcd_voter::id(&self.second.name),
        ]
    }

    fn hint(&self) -> String {
        format!("on {}: df -h /etc", self.first.name)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let machine = world.server(&self.first).await?;
        for file in self.files(world)? {
            if let Some(why) = file.differs(machine).await? {
                return Ok(Finding::Differs(why));
            }
        }
        Ok(Finding::done())
    }

    /// k3s goes by it only where it has no data: nothing is restarted.
    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let machine = world.server(&self.first).await?;
        for file in self.files(world)? {
            file.write(machine, hands).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::plan::Founded;
    use crate::steps::testing::{Fake, plan, world};

    #[tokio::test]
    async fn it_replaces_cluster_init_once_and_starts_nothing() {
        let mut plan = plan();
        let step = JoinAddress::new(&plan).unwrap();
        let fake = Fake::new().answers("stat -c", 1, "");
        step.apply(&world(&[("k3s-cp-1", &fake)]), &hands())
            .await
            .unwrap();
        let written: Vec<String> = fake.told().into_iter().map(|(_, stdin)| stdin).collect();
        assert!(
            written
                .iter()
                .any(|text| text.contains("server: https://192.168.137.3:6443"))
        );
        assert!(!written.iter().any(|text| text.contains("cluster-init")));
        assert!(!fake.was_told("systemctl"));
        plan.founded = Some(Founded {
            ca: "ca".into(),
            voters: ["k3s-cp-1".to_owned(), "k3s-cp-2".to_owned()].into(),
        });
        assert!(JoinAddress::new(&plan).is_none());
        plan.founded = None;
        plan.servers.truncate(1);
        assert!(JoinAddress::new(&plan).is_none());
    }
}
