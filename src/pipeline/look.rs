//! Looking at all steps in one round, which changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;

use super::ended::{Ended, Span};
use super::step::{Finding, Phase, Step};
use super::tell;
use crate::event::{Events, Outcome};
use crate::failure::Result;
use crate::step_id::StepId;

/// Looks at all steps side by side, whether what they need holds or not; what each showed, in the given order.
pub async fn look_at_once<W: Sync>(steps: &[Box<dyn Step<W>>], world: &W) -> Vec<Result<Finding>> {
    let looks = looks(steps, world).map(|look| async { look.await.0 });
    join_all(looks).await
}

/// One look at each step, and when it was. Only what goes by what others have just seen (`after`) waits for them.
fn looks<'a, W: Sync>(
    steps: &'a [Box<dyn Step<W>>],
    world: &'a W,
) -> impl Iterator<Item = impl Future<Output = (Result<Finding>, Span)> + 'a> {
    let started = Instant::now();
    let seen: HashMap<StepId, watch::Sender<bool>> = steps
        .iter()
        .map(|step| (step.id(), watch::channel(false).0))
        .collect();
    let seen = Arc::new(seen);
    steps.iter().map(move |step| {
        let seen = Arc::clone(&seen);
        async move {
            for id in step.meta().after {
                if let Some(gate) = seen.get(&id) {
                    let _ = gate.subscribe().wait_for(|done| *done).await;
                }
            }
            let began = started.elapsed();
            let found = step.check(world, Phase::Before).await;
            let span = Span {
                began,
                took: started.elapsed().saturating_sub(began),
                ..Span::default()
            };
            if let Some(gate) = seen.get(&step.id()) {
                gate.send_replace(true);
            }
            (found, span)
        }
    })
}

/// Looks at all steps at once: how each ended where every fact holds, `None` as soon as one does not.
///
/// The quick way for a run that has nothing to do, where walking from need to need would be all it does. Where something
/// is wrong, looks at what depends on it may take their whole timeout, and nobody waits for them.
pub async fn all_hold<W: Sync>(
    steps: &[Box<dyn Step<W>>],
    world: &W,
    events: &Events,
) -> Option<Vec<Ended>> {
    let done = looks(steps, world).map(|look| async {
        match look.await {
            (Ok(Finding::Done(note)), span) => Ok((note, span)),
            _ => Err(()),
        }
    });
    let held = try_join_all(done).await.ok()?;
    let ended = steps.iter().zip(held).map(|(step, (note, span))| {
        // Only now: where one does not hold, the run that follows looks at each again, and says so then.
        events.send(tell::started(step.as_ref(), span.began));
        events.send(tell::ended(step.as_ref(), Outcome::Kept, &note, &span));
        Ended {
            id: step.id(),
            outcome: Outcome::Kept,
            failure: None,
            span,
        }
    });
    Some(ended.collect())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::pipeline::{Meta, WritePermit};
    use crate::step_id::StepName;

    /// A fact that holds or not, or a look that never ends.
    struct Fact(StepName, Option<bool>);

    #[async_trait]
    impl Step<()> for Fact {
        fn meta(&self) -> Meta {
            Meta::new(self.0.on("x"), self.0.name(), "").code(crate::failure::Code::Vm)
        }

        async fn check(&self, (): &(), _: Phase) -> Result<Finding> {
            match self.1 {
                Some(true) => Ok(Finding::done()),
                Some(false) => Ok(Finding::differs("it does not")),
                None => std::future::pending().await,
            }
        }
        async fn apply(&self, (): &(), _: &WritePermit) -> Result<()> {
            unreachable!()
        }
    }

    const A: StepName = StepName::VmUp;
    const B: StepName = StepName::Routes;

    async fn held(facts: &[(StepName, Option<bool>)]) -> Option<usize> {
        told(facts).await.0
    }

    /// How many held, and what was said of it.
    async fn told(facts: &[(StepName, Option<bool>)]) -> (Option<usize>, Vec<String>) {
        let steps: Vec<Box<dyn Step<()>>> = facts
            .iter()
            .map(|(name, holds)| Box::new(Fact(*name, *holds)) as Box<dyn Step<()>>)
            .collect();
        let (events, mut listening) = Events::channel(|_| {});
        let ended = all_hold(&steps, &(), &events).await;
        drop(events);
        let mut said = Vec::new();
        while let Some(event) = listening.recv().await {
            said.push(serde_json::to_value(&event).unwrap()["type"].to_string());
        }
        (ended.map(|ended| ended.len()), said)
    }

    /// docs/events.md promises a `step-started` for each `step-ended`.
    #[tokio::test]
    async fn each_step_that_holds_is_started_and_ended() {
        let (_, said) = told(&[(A, Some(true)), (B, Some(true))]).await;
        let pair = ["\"step-started\"", "\"step-ended\""];
        assert_eq!(said, [pair, pair].concat());
        let (_, said) = told(&[(A, Some(true)), (B, Some(false))]).await;
        assert!(said.is_empty(), "the run says it: {said:?}");
    }

    /// An API that hangs kept a run for six minutes after it had told so: every server was asked for through it.
    #[tokio::test(start_paused = true)]
    async fn what_does_not_hold_ends_the_round() {
        assert_eq!(held(&[(A, Some(true)), (B, Some(true))]).await, Some(2));
        assert_eq!(held(&[(A, None), (B, Some(false))]).await, None);
    }
}
