//! What every command that acts does with its steps: run them, and tell it as events.

use std::time::Instant;

use crate::cli::Global;
use crate::event::{Event, Events};
use crate::failure::Failure;
use crate::pipeline::{self, Ended, Mode, Step};
use crate::report;
use crate::world::World;

/// A command that acts.
pub(super) struct Act<'a> {
    /// How to report.
    pub(super) global: &'a Global,
    /// Its name, as events tell it.
    pub(super) command: &'static str,
    /// When it began: what came before the steps counts too.
    pub(super) started: Instant,
    /// Whether it may change anything.
    pub(super) mode: Mode,
    /// Whether it is likely that nothing is to be done: then everything is looked at in one round first.
    pub(super) likely_done: bool,
}

impl Act<'_> {
    /// Runs the steps; how each ended.
    pub(super) async fn run(&self, steps: &[Box<dyn Step>], world: &World) -> Vec<Ended> {
        let (events, listening) = Events::channel();
        let report = report::listen(self.global.output, listening);
        events.send(Event::RunStarted {
            version: crate::event::VERSION,
            cluster: world.plan.cluster.clone(),
            command: self.command.to_owned(),
            steps: steps.len(),
        });
        let at_once = if self.likely_done {
            pipeline::all_hold(steps, world, &events).await
        } else {
            None
        };
        let ended = match at_once {
            Some(ended) => ended,
            None => pipeline::run(steps, self.mode, world, &events).await,
        };
        events.send(Event::run_ended(
            ended.iter().map(|step| step.outcome),
            self.started.elapsed(),
        ));
        drop(events);
        let _ = report.await;
        ended
    }
}

/// What failed.
pub(super) fn failures(ended: &[Ended]) -> Vec<Failure> {
    ended
        .iter()
        .filter_map(|step| step.failure.clone())
        .collect()
}
