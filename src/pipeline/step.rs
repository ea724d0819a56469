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

/// When a step is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been applied in this run.
    Before,
    /// `apply` has succeeded in this run.
    After,
}

/// What a step says of itself.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Who this is.
    pub id: StepId,
    /// What is done, imperative: "Install routes on n100".
    pub title: String,
    /// The next thing to try when it failed. Asked for only then, so that it may go by what the last check saw.
    pub hint: String,
    /// Steps that must hold before this one is looked at; those not in the run count as held.
    pub needs: Vec<StepId>,
    /// Steps that must have ended, well or not, before this one is looked at.
    pub after: Vec<StepId>,
    /// How long after `apply` the fact may take to become true.
    pub timeout: Duration,
    /// The pause between two looks while waiting.
    pub poll_interval: Duration,
    /// What kind of failure it is when the timeout is over.
    pub code: Code,
    /// Whether `apply` is called again where a later check finds that the fact differs. Of a step whose applying does only what
    /// can be done at that moment, and nothing twice.
    pub reapply: bool,
}

impl Meta {
    /// A step that needs no other, with what most steps have: 10 s, a look each 500 ms, [`Code::Command`].
    pub fn new(id: StepId, title: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            id,
            title: title.into(),
            hint: hint.into(),
            needs: Vec::new(),
            after: Vec::new(),
            timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(500),
            code: Code::Command,
            reapply: false,
        }
    }

    /// Adds steps that must hold first.
    #[must_use]
    pub fn needs(mut self, needs: impl IntoIterator<Item = StepId>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Adds steps that must have ended first, well or not.
    #[must_use]
    pub fn after(mut self, after: impl IntoIterator<Item = StepId>) -> Self {
        self.after.extend(after);
        self
    }

    /// Sets how long after `apply` the fact may take to become true.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the pause between two looks.
    #[must_use]
    pub fn poll_interval(mut self, pause: Duration) -> Self {
        self.poll_interval = pause;
        self
    }

    /// Sets what kind of failure it is when the timeout is over.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Has `apply` called again where a later check finds that the fact differs.
    #[must_use]
    pub fn reapply(mut self) -> Self {
        self.reapply = true;
        self
    }
}

/// One fact that we want true of a world `W`: what steps look at and change, of which the engine knows nothing.
#[async_trait]
pub trait Step<W: Sync>: Send + Sync {
    /// What it says of itself.
    fn meta(&self) -> Meta;

    /// Looks; changes nothing.
    async fn check(&self, world: &W, phase: Phase) -> Result<Finding>;

    /// Makes it so; need not wait, for the engine checks again until the timeout is over. Most steps whose fact other steps or
    /// programs make true only wait.
    async fn apply(&self, _: &W, _: &WritePermit) -> Result<()> {
        Ok(())
    }

    /// What applying would change, as a unified diff for people; empty where there is nothing to show.
    async fn diff(&self, _: &W) -> Result<String> {
        Ok(String::new())
    }

    /// What the machine has to say when the timeout is over: a log's last line, say.
    async fn diagnose(&self, _: &W) -> Option<String> {
        None
    }

    /// Ends what an `apply` of this run has left running on machines, when the run is stopped; what is to be said about it.
    async fn cancel(&self, _: &W, _: &WritePermit) -> Option<String> {
        None
    }

    /// Who this is.
    fn id(&self) -> StepId {
        self.meta().id
    }
}
