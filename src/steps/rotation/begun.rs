//! That a rotation of join tokens has begun is on record. Until then every server must be well; from then on one that is down
//! may be down by the rotation, and comes back by the rest of it.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::state::{RotationPhase, State};
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct RotationBegun {
    /// The state's directory.
    state: PathBuf,
}

impl RotationBegun {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self { state }
    }
}

#[async_trait]
impl Step<World> for RotationBegun {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::RotationBegun.on_cluster(),
            "Record that the rotation begins",
            format!("df -h {0}; ls -ld {0}", self.state.display()),
        )
        .needs([StepName::ServersWhole.on_cluster()])
        .code(Code::LocalFile)
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        let begun = world.secrets.retired.phase > RotationPhase::Recorded;
        Ok(if begun || phase == Phase::After {
            Finding::done()
        } else {
            Finding::differs("nothing has been done on any server")
        })
    }

    async fn apply(&self, _: &World, _: &WritePermit) -> Result<()> {
        State::advance(&self.state, RotationPhase::Begun)
    }
}
