//! A daemon's API answers with its token, refuses without, and is the one of our group.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::Daemon;
use crate::slicer::{Group, Slicer};
use crate::step_id::StepName;
use crate::steps::daemon;
use crate::steps::support::unit::Unit;
use crate::world::World;

/// A daemon that has just started may write a new token; one that still refuses the file's after this long will go on.
const STABLE_FOR: Duration = Duration::from_secs(5);

pub(crate) struct DaemonAnswers {
    daemon: Daemon,
    refused: Mutex<Option<Instant>>,
}

impl DaemonAnswers {
    pub(crate) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
            refused: Mutex::new(None),
        }
    }

    async fn ask(&self, world: &World) -> Result<(Slicer, Vec<Group>)> {
        let slicer = world.slicer(&self.daemon).await?;
        let groups = slicer.groups().await;
        let groups = groups.map_err(|failure| self.judged(failure))?;
        Ok((slicer, groups))
    }

    /// Why nobody answers, where the daemon ran only for the moment in which that was looked at.
    async fn cause(&self, world: &World) -> Result<Option<Failure>> {
        let host = world.host(&self.daemon.host)?;
        let unit = Unit::look(host, &self.daemon.unit()).await?;
        daemon::running::given_up(host, &self.daemon, &unit).await
    }

    /// A token that is refused again and again is a lasting failure.
    fn judged(&self, failure: Failure) -> Failure {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.code != Code::SlicerToken {
            *refused = None;
            return failure;
        }
        let since = refused.get_or_insert_with(Instant::now);
        if since.elapsed() < STABLE_FOR {
            failure
        } else {
            failure.permanent()
        }
    }
}

#[async_trait]
impl Step<World> for DaemonAnswers {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::DaemonAnswers.on(&self.daemon.group),
            format!("Reach Slicer's API of {}", self.daemon.group),
            self.daemon.look_at_journal(),
        )
        .needs([StepName::DaemonRunning.on(self.daemon.carrier())])
        // One that may not restart yet serves on as it is.
        .after([StepName::DaemonCurrent.on(self.daemon.carrier())])
        .timeout(Duration::from_mins(1))
        .poll_interval(Duration::from_millis(250))
        .code(Code::SlicerApi)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let (slicer, groups) = match self.ask(world).await {
            Ok(answer) => answer,
            Err(failure) => return Err(self.cause(world).await?.unwrap_or(failure)),
        };
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    /// A look at the right instant saw it run; what it says of its licence is still the cause.
    #[tokio::test]
    async fn a_daemon_that_ends_again_and_again_is_told_by_its_own_words() {
        let unit = "ActiveState=activating\nSubState=auto-restart\nNRestarts=2\nInvocationID=a\n";
        let fake = Fake::new().says("ActiveState", unit).says(
            "journalctl",
            &crate::remote::journal(&[("a", "Error: license token is expired")]),
        );
        let step = DaemonAnswers::new(&plan().daemons[0]);
        let failure = step
            .check(&world(&[("n100", &fake)]), Phase::Before)
            .await
            .unwrap_err();
        assert_eq!(failure.code, Code::SlicerLicence);
        // It was started anew once or twice, days ago.
        let runs = "ActiveState=active\nSubState=running\nNRestarts=2\n";
        let busy = Fake::new().says("ActiveState", runs).says(
            "journalctl",
            &crate::remote::journal(&[("a", "License is valid")]),
        );
        let failure = step
            .check(&world(&[("n100", &busy)]), Phase::Before)
            .await
            .unwrap_err();
        assert_ne!(failure.code, Code::SlicerLicence);
    }

    /// The whole timeout is for daemons that are starting, not for a token that nobody accepts.
    #[tokio::test(start_paused = true)]
    async fn a_token_that_stays_refused_ends_the_wait() {
        let step = DaemonAnswers::new(&plan().daemons[0]);
        let judged = |code| step.judged(Failure::new(code, "x")).is_permanent();
        assert!(!judged(Code::SlicerToken));
        tokio::time::advance(STABLE_FOR).await;
        assert!(judged(Code::SlicerToken));
        assert!(!judged(Code::SlicerApi));
        assert!(!judged(Code::SlicerToken));
    }
}
