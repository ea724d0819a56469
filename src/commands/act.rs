//! What every command that acts does with its steps: run them, and tell it as events.

use std::time::{Duration, Instant};

use super::turn::RunLock;
use crate::cli::Global;
use crate::escape::escape;
use crate::event::{Event, Events, Outcome};
use crate::failure::{Code, Failure, Failures, Result};
use crate::pipeline::{self, Ended, Mode};
use crate::steps::AnyStep;
use crate::world::World;
use crate::{log, report, stop};

/// Exit code of `--dry-run` where something would change.
pub(super) const WOULD_CHANGE: u8 = 3;

/// How long a run that was stopped takes to end what it left running on machines.
const TO_END: Duration = Duration::from_secs(10);

/// A command that acts.
pub(super) struct Act<'a> {
    /// How to report.
    pub(super) global: &'a Global,
    /// Its name, as events tell it.
    pub(super) command: &'static str,
    /// When it began: what came before the steps counts too.
    pub(super) started: Instant,
    /// The right to change anything; without it the steps are only looked at.
    pub(super) turn: Option<&'a RunLock>,
    /// Hosts that do not answer: they stop nobody, are named last, and the run has failed.
    pub(super) absent: Vec<(String, Failure)>,
    /// Whether it is likely that nothing is to be done: then everything is looked at in one round first.
    pub(super) likely_done: bool,
}

impl Act<'_> {
    /// Runs the steps; how each ended, or everything that failed. A run whose turn is over stops at once: another may
    /// have begun.
    pub(super) async fn run(
        self,
        steps: &[AnyStep],
        world: &World,
    ) -> Result<Vec<Ended>, Failures> {
        let _mine = stop::answer_myself().await;
        let (events, listening) = Events::channel(log::event);
        let report = report::listen(self.global.output, listening);
        log::speak_through(Some(&events));
        let before = self.started.elapsed();
        events.send(Event::RunStarted {
            version: crate::event::VERSION,
            cluster: world.plan.cluster.clone(),
            command: self.command.to_owned(),
            steps: steps.len(),
            before_seconds: before.as_secs_f64(),
        });
        let mut requests = stop::Requests::listen();
        let result = tokio::select! {
            result = self.work(steps, world, &events) => result,
            request = requests.next() => Err(super::stopped(request)),
        };
        let took = self.started.elapsed();
        let mut left = Vec::new();
        if let (Err(failure), Some(_)) = (&result, self.turn)
            && matches!(failure.code, Code::Interrupted | Code::Terminated)
        {
            left = pipeline::stop(steps, world, TO_END).await;
        }
        match &result {
            Ok(ended) => events.send(pipeline::run_ended(ended, took)),
            Err(failure) => {
                let (in_progress, ended) = log::standing();
                events.send(Event::RunStopped {
                    reason: failure.to_string(),
                    in_progress,
                    ended,
                    seconds: took.as_secs_f64(),
                });
            }
        }
        log::speak_through(None);
        drop(events);
        let _ = report.await;
        for words in left {
            report::say(&escape(&words));
        }
        if self.global.timings
            && let Ok(ended) = &result
        {
            report::say(&report::timings(ended, before, took));
        }
        let ended = result?;
        let failed = ended.iter().filter_map(|step| step.failure.clone());
        let absent = self.absent.into_iter().map(|(_, failure)| failure);
        let failures: Failures = failed.chain(absent).collect();
        if failures.is_empty() {
            Ok(ended)
        } else {
            Err(failures)
        }
    }

    async fn work(&self, steps: &[AnyStep], world: &World, events: &Events) -> Result<Vec<Ended>> {
        let mode = match self.turn {
            Some(_) => Mode::Apply,
            None => Mode::Look,
        };
        let work = async {
            if self.likely_done
                && let Some(ended) = pipeline::all_hold(steps, world, events).await
            {
                return Ok(ended);
            }
            if let Some(turn) = self.turn {
                turn.announce().await?;
            }
            Ok(pipeline::run(steps, mode, world, events).await)
        };
        match self.turn {
            Some(turn) => turn.during(work).await?,
            None => work.await,
        }
    }
}

/// Whether a run changed anything.
pub(super) fn changed(ended: &[Ended]) -> bool {
    ended.iter().any(|step| step.outcome == Outcome::Changed)
}

/// The exit code of a look.
pub(super) fn would_change(ended: &[Ended]) -> u8 {
    let changes = ended.iter().any(|step| step.outcome == Outcome::Would);
    if changes { WOULD_CHANGE } else { 0 }
}
