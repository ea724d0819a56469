//! That a rotation of join tokens has begun is on record. Until then every server must be well; from then on one that is down
//! may be down by the rotation, and comes back by the rest of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Step, WritePermit};
use crate::state::{Phase, State};
use crate::step_id::{StepId, StepName};
use crate::world::World;

pub(crate) struct RotationBegun {
    /// The state's directory.
    state: PathBuf,
    recorded: AtomicBool,
}

impl RotationBegun {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self {
            state,
            recorded: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Step<World> for RotationBegun {
    fn id(&self) -> StepId {
        StepName::RotationBegun.on_cluster()
    }

    fn title(&self) -> String {
        "Record that the rotation begins".into()
    }

    fn needs(&self) -> Vec<StepId> {
        vec![StepName::ServersWhole.on_cluster()]
    }

    fn code(&self) -> Code {
        Code::LocalFile
    }

    fn hint(&self) -> String {
        format!("df -h {0}; ls -ld {0}", self.state.display())
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let begun = world.secrets.retired.phase > Phase::Recorded;
        Ok(if begun || self.recorded.load(Ordering::Relaxed) {
            Finding::done()
        } else {
            Finding::differs("nothing has been done on any server")
        })
    }

    async fn apply(&self, _: &World, _: &WritePermit) -> Result<()> {
        State::advance(&self.state, Phase::Begun)?;
        self.recorded.store(true, Ordering::Relaxed);
        Ok(())
    }
}
