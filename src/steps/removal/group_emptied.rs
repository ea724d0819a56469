//! A group that the daemon of its host's servers serves has no VMs left, nor anything of them. The daemon runs on: the servers
//! are its as well.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::DaemonToRemove;
use crate::deletion::{APART, DeletableVm};
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::slicer::Slicer;
use crate::step_id::StepName;
use crate::steps::removal::parts::console_logs;
use crate::vm::Vm;
use crate::world::World;

pub(crate) struct GroupEmptied {
    group: String,
    host: String,
    carrier: String,
    /// Since when every answer has been one that may be no list.
    doubtful: Mutex<Option<Instant>>,
}

impl GroupEmptied {
    /// Where another group's daemon serves it.
    pub(crate) fn new(remains: &DaemonToRemove) -> Option<Self> {
        Some(Self {
            group: remains.group.clone(),
            host: remains.host.clone(),
            carrier: remains.shares.clone()?,
            doubtful: Mutex::default(),
        })
    }

    async fn slicer(&self, world: &World) -> Result<Slicer> {
        let carrier = world.plan.daemon(&self.carrier).ok_or_else(|| {
            Failure::new(
                Code::SlicerApi,
                format!("nobody knows the daemon of {}", self.carrier),
            )
            .permanent()
        })?;
        world.slicer(carrier).await
    }

    /// The group's VMs: there are none where the daemon no longer knows the group, for it has started since. `Err` holds for how long
    /// another answer has to be waited for: `null` may be no list, as one of groups is none that lacks the daemon's own, and the
    /// Nodes of VMs that run on would go with the next step.
    async fn vms(&self, slicer: &Slicer) -> Result<Result<Vec<Vm>, Duration>> {
        let groups = slicer.groups().await?;
        let has = |name: &str| groups.iter().any(|group| group.name == name);
        let listed = if has(&self.group) {
            slicer.vms_or_null(&self.group).await?
        } else {
            has(&self.carrier).then(Vec::new)
        };
        let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vms) = listed {
            *doubtful = None;
            return Ok(Ok(vms));
        }
        let since = doubtful.get_or_insert_with(Instant::now);
        let wait = APART.saturating_sub(since.elapsed());
        Ok(if wait.is_zero() {
            Ok(Vec::new())
        } else {
            Err(wait)
        })
    }
}

#[async_trait]
impl Step<World> for GroupEmptied {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::GroupEmptied.on(&self.group),
            format!("Remove the VMs of {} from {}", self.group, self.host),
            format!("on {}: slicer vm list; run again", self.host),
        )
        // Once its VMs are gone the answer may be such that a second one is waited for.
        .timeout(APART + Duration::from_secs(20))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let logs = console_logs::left(world.host(&self.host)?, &self.group).await?;
        let vms = match self.vms(&self.slicer(world).await?).await? {
            Ok(vms) => vms,
            Err(wait) => {
                let wait = wait.as_secs_f64().ceil();
                return Ok(Finding::Unknown(format!(
                    "whether it has VMs is not certain; a list in {wait:.0} s has to say so, too"
                )));
            }
        };
        Ok(match vms.first() {
            Some(vm) => Finding::differs(format!("{} is there", vm.hostname)),
            None if logs => Finding::differs("its VMs' console logs are there"),
            None => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let slicer = self.slicer(world).await?;
        let vms = loop {
            match self.vms(&slicer).await? {
                Ok(vms) => break vms,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        };
        let names: Vec<String> = vms.into_iter().map(|vm| vm.hostname).collect();
        for vm in DeletableVm::named(&self.group, &names) {
            slicer.delete_vm(permit, &vm).await?;
        }
        console_logs::remove(world.host(&self.host)?, permit, &self.group).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    fn step() -> GroupEmptied {
        GroupEmptied::new(&DaemonToRemove {
            group: "k3s-agents-2".into(),
            host: "n100".into(),
            shares: Some("k3s-cp".into()),
            adopted: None,
            served_elsewhere: false,
        })
        .unwrap()
    }

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
        let step = step();
        assert!(matches!(
            step.check(&world, Phase::Before).await.unwrap(),
            Finding::Differs(_)
        ));
        step.apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told("DELETE /hostgroup/k3s-agents-2/nodes/a-1"));
        assert!(
            !fake
                .told()
                .iter()
                .any(|(told, _)| told.contains("DELETE") && told.contains("k3s-cp"))
        );
    }

    /// One `null` was taken for a group without VMs, and the next step deleted the Nodes of VMs that ran on.
    #[tokio::test(start_paused = true)]
    async fn what_may_be_no_list_is_asked_for_again() {
        let groups = r#"[{"name":"k3s-cp"},{"name":"k3s-agents-2"}]"#;
        for (groups, vms) in [(groups, "null"), ("null", "[]"), ("[]", "[]")] {
            let fake = Fake::new()
                .says("auth/token", "t0ken\n")
                .answers("[!0-9]", 1, "")
                .says("GET /hostgroup/k3s-agents-2/nodes", vms)
                .says("GET /hostgroup", groups);
            let world = world(&[("n100", &fake)]);
            let step = step();
            let found = step.check(&world, Phase::Before).await.unwrap();
            assert!(matches!(found, Finding::Unknown(_)), "{groups} {found:?}");
            let begin = Instant::now();
            step.apply(&world, &permit()).await.unwrap();
            assert!(begin.elapsed() >= APART, "{groups}");
            let found = step.check(&world, Phase::After).await.unwrap();
            assert_eq!(found, Finding::done(), "{groups}");
        }
        // It was none: the group has a VM.
        let fake = Fake::new()
            .says("auth/token", "t0ken\n")
            .says_first("GET /hostgroup/k3s-agents-2/nodes", "null")
            .says(
                "GET /hostgroup/k3s-agents-2/nodes",
                r#"[{"hostname":"a-1"}]"#,
            )
            .says("GET /hostgroup", groups);
        let world = world(&[("n100", &fake)]);
        let step = step();
        assert!(matches!(
            step.check(&world, Phase::After).await.unwrap(),
            Finding::Unknown(_)
        ));
        step.apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told("DELETE /hostgroup/k3s-agents-2/nodes/a-1"));
    }

    /// The daemon has started since and does not know the group any more.
    #[tokio::test]
    async fn a_group_that_its_daemon_forgot_has_no_vms() {
        let fake = Fake::new()
            .says("auth/token", "t0ken\n")
            .answers("[!0-9]", 1, "")
            .says("GET /hostgroup", r#"[{"name":"k3s-cp"}]"#);
        let found = step()
            .check(&world(&[("n100", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert_eq!(found, Finding::done());
    }
}
