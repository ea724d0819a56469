//! SSH to a server works, with the host key that Slicer's agent told, which no other VM has.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::Server;
use crate::remote::ssh::HOST_KEY_PATH;
use crate::step_id::StepName;
use crate::steps::support::run_context::RunContext;
use crate::world::World;

pub(crate) struct VmReachable {
    server: Server,
    seen: Arc<RunContext>,
}

impl VmReachable {
    pub(crate) fn new(server: &Server, seen: &Arc<RunContext>) -> Self {
        Self {
            server: server.clone(),
            seen: Arc::clone(seen),
        }
    }
}

#[async_trait]
impl Step<World> for VmReachable {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::VmReachable.on(&self.server.name),
            format!("Reach {} by SSH", self.server.name),
            format!(
                "on {}: sudo slicer vm shell {}",
                self.server.host, self.server.name
            ),
        )
        .needs([StepName::ServerKey.on(&self.server.name)])
        .timeout(Duration::from_secs(90))
        .poll_interval(Duration::from_millis(250))
        .code(Code::SshUnreachable)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let machine = world.server(&self.server).await?;
        let key = machine.read(HOST_KEY_PATH).await?.unwrap_or_default();
        let key: Vec<&str> = key.split_whitespace().take(2).collect();
        if key.is_empty() {
            return Ok(Finding::Unknown("it has no host key yet".into()));
        }
        match self.seen.claim_host_key(&key.join(" "), &self.server.name) {
            None => Ok(Finding::done()),
            Some(other) => Err(Failure::new(
                Code::HostKeyChanged,
                format!(
                    "{} and {other} have the same SSH host key",
                    self.server.name
                ),
            )
            .because("they were cloned from one disk, and one could pass for the other")
            .hint(format!(
                "sudo rm /etc/ssh/ssh_host_* && sudo ssh-keygen -A in {}, then run again",
                self.server.name
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    #[tokio::test]
    async fn two_vms_with_one_key_are_refused() {
        let fake = Fake::new().says("ssh_host_ed25519", "ssh-ed25519 AAAA root@x\n");
        let world = world(&[("k3s-cp-1", &fake), ("k3s-cp-2", &fake)]);
        let seen = Arc::new(RunContext::default());
        let step = |n: usize| VmReachable::new(&plan().servers[n], &seen);
        assert_eq!(
            step(0).check(&world, Phase::Before).await.unwrap(),
            Finding::done()
        );
        let failure = step(1).check(&world, Phase::Before).await.unwrap_err();
        assert_eq!(failure.code, Code::HostKeyChanged);
    }
}
