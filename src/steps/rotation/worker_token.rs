//! The workers of a group hold the new join token, and their services run with it. k3s does without where an agent has its
//! client certificate (k3s pkg/agent/config/config.go); one that has still to join, or has lost that, needs it.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::failure::Result;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Daemon;
use crate::slicer::Held;
use crate::step_id::{StepId, StepName};
use crate::steps::group::k3s_token_secret;
use crate::steps::support::unit::ACTIVE;
use crate::world::World;

pub(crate) struct WorkerToken {
    daemon: Daemon,
    needs: Vec<StepId>,
}

/// A VM that is just being installed may have read the old token: it is given the new one when it has its service.
const INSTALLING: Duration = Duration::from_mins(3);

impl WorkerToken {
    pub(crate) fn new(daemon: &Daemon, needs: Vec<StepId>) -> Self {
        Self {
            daemon: daemon.clone(),
            needs,
        }
    }
}

/// Why a worker is not there yet, where it is not.
fn lacks(held: &Held, hash: &str) -> Option<String> {
    match held {
        Held::Nothing => Some("its k3s is still being installed".into()),
        Held::Token { file, .. } if file != hash => Some("it holds the old token".into()),
        Held::Token { process, .. } if process != hash => {
            Some("its service still runs with the old token".into())
        }
        Held::Token { state, .. } if state != ACTIVE => Some(format!("its service is {state}")),
        Held::Token { .. } => None,
    }
}

fn hash(world: &World) -> String {
    world.secrets.agent_token.sha256()
}

#[async_trait]
impl Step<World> for WorkerToken {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::WorkerToken.on(&self.daemon.group),
            format!("Give the workers of {} the new token", self.daemon.group),
            format!(
                "on {}: sudo slicer vm list; delete a worker that does not answer (the autoscaler \
                 makes another), and run again",
                self.daemon.host
            ),
        )
        .needs(self.needs.clone())
        .timeout(INSTALLING + Duration::from_mins(2))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let slicer = world.slicer(&self.daemon).await?;
        let vms = slicer.vms(&self.daemon.group).await?;
        for vm in &vms {
            let held = slicer.read_join_token(&vm.hostname).await?;
            if let Some(why) = lacks(&held, &hash(world)) {
                return Ok(Finding::differs(format!("{}: {why}", vm.hostname)));
            }
        }
        Ok(Finding::Done(format!("{} workers", vms.len())))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let token = k3s_token_secret::token(world).await?;
        let slicer = world.slicer(&self.daemon).await?;
        let began = Instant::now();
        loop {
            let mut installing = false;
            for vm in slicer.vms(&self.daemon.group).await? {
                match slicer.read_join_token(&vm.hostname).await? {
                    Held::Nothing => installing = true,
                    Held::Token { file, process, .. } => {
                        let hash = hash(world);
                        if file != hash || process != hash {
                            slicer
                                .write_join_token(permit, &vm.hostname, &token)
                                .await?;
                        }
                    }
                }
            }
            if !installing || began.elapsed() > INSTALLING {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a service that was restarted with the new token survives its next restart for sure.
    #[test]
    fn a_worker_is_done_when_file_and_process_have_the_token_and_it_is_active() {
        let held = |file: &str, process: &str, state: &str| Held::Token {
            file: file.into(),
            process: process.into(),
            state: state.into(),
        };
        assert_eq!(lacks(&held("new", "new", "active"), "new"), None);
        for other in [
            Held::Nothing,
            held("old", "old", "active"),
            held("new", "old", "active"),
            held("new", "new", "activating"),
        ] {
            assert!(lacks(&other, "new").is_some(), "{other:?}");
        }
    }
}
