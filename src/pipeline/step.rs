//! What a step is.

use std::time::Duration;

use async_trait::async_trait;

use super::permit::WritePermit;
use crate::failure::{Code, Result};
use crate::step_id::StepId;

/// What looking at a step showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The fact holds; the note says in which form ("v1.34.4+k3s1, 3 voters").
    Done(String),
    /// The fact does not hold, and why.
    Differs(String),
    /// Cannot be told yet, and why ("the VM does not exist yet").
    Unknown(String),
}

impl Finding {
    /// `Done` without a note.
    pub fn done() -> Self {
        Self::Done(String::new())
    }

    /// `Differs`, because …
    pub fn differs(why: impl Into<String>) -> Self {
        Self::Differs(why.into())
    }
}

/// One fact that we want true of a world `W`: what steps look at and change, of which the engine knows nothing.
#[async_trait]
pub trait Step<W: Sync>: Send + Sync {
    /// Who this is.
    fn id(&self) -> StepId;
    /// What is done, imperative: "Install routes on n100".
    fn title(&self) -> String;
    /// Steps that must hold before this one is looked at; those not in the run count as held.
    fn needs(&self) -> Vec<StepId> {
        Vec::new()
    }
    /// Steps that must have ended, well or not, before this one is looked at.
    fn after(&self) -> Vec<StepId> {
        Vec::new()
    }
    /// How long after `apply` the fact may take to become true.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
    /// The pause between two looks while waiting.
    fn pace(&self) -> Duration {
        Duration::from_millis(500)
    }
    /// What kind of failure it is when patience is over.
    fn code(&self) -> Code {
        Code::Command
    }
    /// The next thing to try when it failed.
    fn hint(&self) -> String;
    /// Looks; changes nothing.
    async fn check(&self, world: &W) -> Result<Finding>;
    /// What applying would change, as a unified diff for people; empty where there is nothing to show.
    async fn diff(&self, _: &W) -> Result<String> {
        Ok(String::new())
    }
    /// The machine's own last words, asked for when patience is over: a log's last line, say.
    async fn last_words(&self, _: &W) -> Option<String> {
        None
    }
    /// Whether `apply` is called again where a later check finds that the fact differs. Of a step whose applying does only what
    /// can be done at that moment, and nothing twice.
    fn again(&self) -> bool {
        false
    }
    /// Ends what an `apply` of this run has left running on machines, when the run is stopped; what is to be said about it.
    async fn stopped(&self, _: &W, _: &WritePermit) -> Option<String> {
        None
    }
    /// Makes it so; need not wait: the engine checks again until patience is over.
    async fn apply(&self, world: &W, permit: &WritePermit) -> Result<()>;
}
