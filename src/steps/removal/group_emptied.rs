//! A group that the daemon of its host's servers serves has no VMs left, nor anything of them. The daemon runs on: the servers
//! are its as well.

use async_trait::async_trait;

use super::{Remains, console_logs};
use crate::deletion::DeletableVm;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::slicer::{Slicer, Vm};
use crate::world::World;

pub(super) struct GroupEmptied {
    group: String,
    host: String,
    carrier: String,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("group-emptied", group)
}

impl GroupEmptied {
    /// Where another group's daemon serves it.
    pub(super) fn new(remains: &Remains) -> Option<Self> {
        Some(Self {
            group: remains.group.clone(),
            host: remains.host.clone(),
            carrier: remains.shares.clone()?,
        })
    }

    async fn slicer(&self, world: &World) -> Result<Slicer> {
        let carrier = world.plan.daemon(&self.carrier).ok_or_else(|| {
            Failure::new(
                Code::SlicerApi,
                format!("nobody knows the daemon of {}", self.carrier),
            )
            .lasting()
        })?;
        world.slicer(carrier).await
    }

    /// None where the daemon no longer knows the group: it has started since.
    async fn vms(&self, slicer: &Slicer) -> Result<Vec<Vm>> {
        let groups = slicer.groups().await?;
        if groups.iter().any(|group| group.name == self.group) {
            return slicer.vms(&self.group).await;
        }
        Ok(Vec::new())
    }
}

#[async_trait]
impl Step for GroupEmptied {
    fn id(&self) -> StepId {
        id(&self.group)
    }

    fn title(&self) -> String {
        format!("Remove the VMs of {} from {}", self.group, self.host)
    }

    fn hint(&self) -> String {
        format!("on {}: slicer vm list; run again", self.host)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let logs = console_logs::left(world.host(&self.host)?, &self.group).await?;
        let vms = self.vms(&self.slicer(world).await?).await?;
        Ok(match vms.first() {
            Some(vm) => Finding::differs(format!("{} is there", vm.hostname)),
            None if logs => Finding::differs("its VMs' console logs are there"),
            None => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let slicer = self.slicer(world).await?;
        let vms = self.vms(&slicer).await?;
        let names: Vec<String> = vms.into_iter().map(|vm| vm.hostname).collect();
        for vm in DeletableVm::named(&self.group, &names) {
            slicer.delete_vm(hands, &vm).await?;
        }
        console_logs::remove(world.host(&self.host)?, hands, &self.group).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, world};

    /// The servers of the same daemon are not its matter.
    #[tokio::test]
    async fn only_the_groups_own_vms_go() {
        let fake = Fake::new()
            .says("auth/token", "t0ken\n")
            .says(
                "GET /hostgroup/k3s-agents-2/nodes",
                r#"[{"hostname":"a-1"}]"#,
            )
            .says(
                "GET /hostgroup/k3s-cp/nodes",
                r#"[{"hostname":"k3s-cp-1"}]"#,
            )
            .says(
                "GET /hostgroup",
                r#"[{"name":"k3s-cp"},{"name":"k3s-agents-2"}]"#,
            );
        let world = world(&[("n100", &fake)]);
        let step = GroupEmptied::new(&Remains {
            group: "k3s-agents-2".into(),
            host: "n100".into(),
            shares: Some("k3s-cp".into()),
            adopted: None,
            served_elsewhere: false,
        })
        .unwrap();
        assert!(matches!(
            step.check(&world).await.unwrap(),
            Finding::Differs(_)
        ));
        step.apply(&world, &hands()).await.unwrap();
        assert!(fake.was_told("DELETE /hostgroup/k3s-agents-2/nodes/a-1"));
        assert!(
            !fake
                .told()
                .iter()
                .any(|(told, _)| told.contains("DELETE") && told.contains("k3s-cp"))
        );
    }
}
