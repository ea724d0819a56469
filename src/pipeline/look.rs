//! Looking at all steps in one round, which changes nothing.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::ended::{Ended, Span};
use super::step::{Finding, Step, StepId};
use super::tell;
use crate::event::{Events, Outcome};
use crate::failure::Result;
use crate::world::World;

/// Looks at all steps side by side, whether what they need holds or not; what each showed, in the given order. Only what
/// goes by what others have just seen (`after`) waits for them.
pub async fn look_at_once(steps: &[Box<dyn Step>], world: &World) -> Vec<Result<Finding>> {
    let seen: HashMap<StepId, watch::Sender<bool>> = steps
        .iter()
        .map(|step| (step.id(), watch::channel(false).0))
        .collect();
    join_all(steps.iter().map(|step| {
        let seen = &seen;
        async move {
            for id in step.after() {
                if let Some(gate) = seen.get(&id) {
                    let _ = gate.subscribe().wait_for(|done| *done).await;
                }
            }
            let found = step.check(world).await;
            if let Some(gate) = seen.get(&step.id()) {
                gate.send_replace(true);
            }
            found
        }
    }))
    .await
}

/// Looks at all steps at once: how each ended where every fact holds, `None` otherwise.
///
/// The quick way for a run that has nothing to do, where walking from need to need would be all it does.
pub async fn all_hold(
    steps: &[Box<dyn Step>],
    world: &World,
    events: &Events,
) -> Option<Vec<Ended>> {
    let started = Instant::now();
    let mut notes = HashMap::new();
    for (step, found) in steps.iter().zip(look_at_once(steps, world).await) {
        if let Ok(Finding::Done(note)) = found {
            notes.insert(step.id(), note);
        }
    }
    if notes.len() < steps.len() {
        return None;
    }
    let span = Span {
        took: started.elapsed(),
        ..Span::default()
    };
    Some(
        steps
            .iter()
            .map(|step| {
                let id = step.id();
                let note = notes.remove(&id).unwrap_or_default();
                events.send(tell::ended(step.as_ref(), Outcome::Kept, &note, &span));
                Ended {
                    id,
                    outcome: Outcome::Kept,
                    failure: None,
                    span: span.clone(),
                }
            })
            .collect(),
    )
}
