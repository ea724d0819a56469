//! A daemon's API answers with its token, refuses without, and is the one of our group.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::Result;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Daemon;
use crate::world::World;

pub(super) struct DaemonAnswers {
    daemon: Daemon,
}

pub(super) fn id(group: &str) -> StepId {
    StepId::new("daemon-answers", group)
}

impl DaemonAnswers {
    pub(super) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
        }
    }
}

#[async_trait]
impl Step for DaemonAnswers {
    fn id(&self) -> StepId {
        id(&self.daemon.group)
    }

    fn title(&self) -> String {
        format!("Reach Slicer's API of {}", self.daemon.group)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::daemon_running::id(&self.daemon.group)]
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn pace(&self) -> Duration {
        Duration::from_millis(250)
    }

    fn hint(&self) -> String {
        self.daemon.look_at_journal()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let slicer = world.slicer(&self.daemon).await?;
        let groups = slicer.groups().await?;
        if !groups.iter().any(|group| group.name == self.daemon.group) {
            let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
            return Ok(Finding::differs(format!(
                "port {} is answered by the daemon of {}",
                self.daemon.api_port,
                names.join(", ")
            )));
        }
        Ok(match slicer.status_without_token().await? {
            401 | 403 => Finding::done(),
            status => Finding::differs(format!("it answers {status} without a token")),
        })
    }

    /// Nothing but time makes a daemon answer.
    async fn apply(&self, _: &World, _: &Hands) -> Result<()> {
        Ok(())
    }
}
