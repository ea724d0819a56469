//! Running steps side by side, each as soon as what it needs holds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::ended::{Ended, Span};
use super::permit::WritePermit;
use super::step::{Finding, Meta, Phase, Step};
use super::tell;
use crate::event::{Event, Events, Outcome};
use crate::failure::{Failure, Result};
use crate::step_id::StepId;

/// Whether a run may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Make every fact true.
    Apply,
    /// Say what would change.
    Look,
}

/// Runs steps side by side, each as soon as what it needs holds; returns how each ended, in the given order.
pub async fn run<W: Sync>(
    steps: &[Box<dyn Step<W>>],
    mode: Mode,
    world: &W,
    events: &Events,
) -> Vec<Ended> {
    let started = Instant::now();
    let gates: Gates = steps
        .iter()
        .map(|step| (step.id(), watch::channel(None).0))
        .collect();
    join_all(steps.iter().map(|step| {
        let gates = &gates;
        async move {
            let id = step.id();
            let waited = ready(step.as_ref(), mode, gates).await;
            let span = Span {
                began: started.elapsed(),
                after: waited.last,
                ..Span::default()
            };
            let ended = match waited.blocker {
                Some(cause) => {
                    let why = format!("because {cause} did not succeed");
                    events.send(tell::ended(step.as_ref(), Outcome::Skipped, &why, &span));
                    Ended {
                        id: id.clone(),
                        outcome: Outcome::Skipped,
                        failure: None,
                        span,
                    }
                }
                None => one(step.as_ref(), mode, world, events, span).await,
            };
            if let Some(gate) = gates.get(&id) {
                gate.send_replace(Some((ended.outcome, Instant::now())));
            }
            ended
        }
    }))
    .await
}

/// Has the steps of a run that was stopped end what they left running, all at once and within `limit`; what is to be said about it.
pub async fn stop<W: Sync>(steps: &[Box<dyn Step<W>>], world: &W, limit: Duration) -> Vec<String> {
    let permit = WritePermit::new();
    let ending = steps
        .iter()
        .map(|step| tokio::time::timeout(limit, step.cancel(world, &permit)));
    let said = join_all(ending).await;
    said.into_iter().flatten().flatten().collect()
}

/// How each step ended and when, once it has.
type Gates = HashMap<StepId, watch::Sender<Option<(Outcome, Instant)>>>;

/// What a step waited for.
struct Waited {
    /// The first need that did not succeed, if any.
    blocker: Option<StepId>,
    /// What ended last.
    last: Option<StepId>,
}

/// Waits for what a step needs.
async fn ready<W: Sync>(step: &dyn Step<W>, mode: Mode, gates: &Gates) -> Waited {
    let mut blocker = None;
    let mut last: Option<(Instant, &StepId)> = None;
    let Meta { needs, after, .. } = step.meta();
    for id in needs.iter().chain(&after) {
        let Some(gate) = gates.get(id) else { continue };
        let mut gate = gate.subscribe();
        let seen = gate.wait_for(Option::is_some).await.ok();
        let (outcome, when) = seen.and_then(|seen| *seen).unzip();
        if let Some(when) = when
            && last.is_none_or(|(latest, _)| when > latest)
        {
            last = Some((when, id));
        }
        let held = matches!(outcome, Some(Outcome::Kept | Outcome::Changed))
            || (mode == Mode::Look && outcome != Some(Outcome::Failed));
        if !held && needs.contains(id) && blocker.is_none() {
            blocker = Some(id.clone());
        }
    }
    Waited {
        blocker,
        last: last.map(|(_, id)| id.clone()),
    }
}

/// Takes one step to its end.
async fn one<W: Sync>(
    step: &dyn Step<W>,
    mode: Mode,
    world: &W,
    events: &Events,
    mut span: Span,
) -> Ended {
    let started = Instant::now();
    events.send(tell::started(step, span.began));
    let result = match mode {
        Mode::Look => look(step, world).await,
        Mode::Apply => apply(step, world, events, &mut span).await,
    };
    span.took = started.elapsed();
    let (outcome, note, failure) = match result {
        Ok((outcome, note)) => (outcome, note, None),
        Err(failure) => {
            let failure = failure.or_hint(|| step.meta().hint);
            (Outcome::Failed, failure.to_string(), Some(failure))
        }
    };
    // A difference that cannot be had is no failure of a look: what and why are told all the same.
    let diff = match outcome {
        Outcome::Would => step.diff(world).await.unwrap_or_default(),
        _ => String::new(),
    };
    events.send(tell::ended(step, outcome, &note, &span));
    if !diff.is_empty() {
        events.send(Event::StepDiff {
            step: step.id().to_string(),
            diff,
        });
    }
    Ended {
        id: step.id(),
        outcome,
        failure,
        span,
    }
}

/// Look mode: a fact that does not hold, or cannot be told yet, is one that would change.
async fn look<W: Sync>(step: &dyn Step<W>, world: &W) -> Result<(Outcome, String)> {
    match step.check(world, Phase::Before).await {
        Ok(Finding::Done(note)) => Ok((Outcome::Kept, note)),
        Ok(Finding::Differs(why) | Finding::Unknown(why)) => Ok((Outcome::Would, why)),
        Err(failure) if failure.is_permanent() => Err(failure),
        Err(failure) => Ok((Outcome::Would, failure.to_string())),
    }
}

/// Apply mode: check, apply once, check until done or out of time.
async fn apply<W: Sync>(
    step: &dyn Step<W>,
    world: &W,
    events: &Events,
    span: &mut Span,
) -> Result<(Outcome, String)> {
    match step.check(world, Phase::Before).await {
        Ok(Finding::Done(note)) => return Ok((Outcome::Kept, note)),
        Err(failure) if failure.is_permanent() => return Err(failure),
        Ok(Finding::Differs(_) | Finding::Unknown(_)) | Err(_) => {}
    }
    let started = Instant::now();
    let applied = step.apply(world, &WritePermit::new()).await;
    span.applied = started.elapsed();
    applied?;
    let result = hold(step, world, events, started).await;
    span.waited = started.elapsed().saturating_sub(span.applied);
    result
}

/// Checks what was applied until it holds or the timeout is over.
async fn hold<W: Sync>(
    step: &dyn Step<W>,
    world: &W,
    events: &Events,
    started: Instant,
) -> Result<(Outcome, String)> {
    let Meta {
        timeout,
        poll_interval,
        reapply,
        ..
    } = step.meta();
    loop {
        let (why, failure) = match step.check(world, Phase::After).await {
            Ok(Finding::Done(note)) => return Ok((Outcome::Changed, note)),
            Ok(Finding::Differs(why)) => {
                if reapply {
                    step.apply(world, &WritePermit::new()).await?;
                }
                (why, None)
            }
            Ok(Finding::Unknown(why)) => (why, None),
            Err(failure) if failure.is_permanent() => return Err(failure),
            Err(failure) => (failure.to_string(), Some(failure)),
        };
        if started.elapsed() >= timeout {
            return Err(given_up(step, world, &why, failure).await);
        }
        events.send(tell::waiting(step, &why, started.elapsed(), timeout));
        tokio::time::sleep(poll_interval).await;
    }
}

/// What is said when the timeout is over: the last reason, and what the machine has to say.
async fn given_up<W: Sync>(
    step: &dyn Step<W>,
    world: &W,
    why: &str,
    failure: Option<Failure>,
) -> Failure {
    let meta = step.meta();
    let mut cause = format!("after {} s: {why}", meta.timeout.as_secs());
    if let Some(words) = step.diagnose(world).await {
        cause = format!("{cause}; its last words: {words}");
    }
    let (code, hint) = match failure {
        Some(failure) => (failure.code, failure.hint),
        None => (meta.code, None),
    };
    Failure::new(code, format!("{} did not succeed", meta.title))
        .because(cause)
        .hint(hint.unwrap_or(meta.hint))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::event::Events;
    use crate::failure::Code;
    use crate::step_id::StepName;

    /// Never true, and its machine has something to say about it.
    struct Never(Option<Failure>);

    #[async_trait]
    impl Step<()> for Never {
        fn meta(&self) -> Meta {
            Meta::new(StepName::VmUp.on("x"), "Boot x", "look at its console")
                .timeout(Duration::from_secs(30))
                .code(Code::Vm)
        }

        async fn diagnose(&self, (): &()) -> Option<String> {
            Some("no root file system".into())
        }
        async fn check(&self, (): &(), _: Phase) -> Result<Finding> {
            match &self.0 {
                Some(failure) => Err(failure.clone()),
                None => Ok(Finding::Unknown("no agent".into())),
            }
        }
    }

    /// Half at a time, as a step that deletes does.
    struct Halves(std::sync::Mutex<u32>);

    #[async_trait]
    impl Step<()> for Halves {
        fn meta(&self) -> Meta {
            Meta::new(StepName::NodesGone.on("x"), "Halve x", "wait").reapply()
        }

        async fn check(&self, (): &(), _: Phase) -> Result<Finding> {
            Ok(match *self.0.lock().unwrap() {
                0 => Finding::done(),
                n => Finding::differs(format!("{n} are left")),
            })
        }
        async fn apply(&self, (): &(), _: &WritePermit) -> Result<()> {
            *self.0.lock().unwrap() /= 2;
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_by_halves_is_applied_until_it_holds() {
        let (events, _listening) = Events::channel(|_| ());
        let steps: Vec<Box<dyn Step<()>>> = vec![Box::new(Halves(5.into()))];
        let ended = run(&steps, Mode::Apply, &(), &events).await;
        assert_eq!(ended[0].outcome, Outcome::Changed);
    }

    async fn failure(never: Option<Failure>) -> Failure {
        let (events, _listening) = Events::channel(|_| ());
        let steps: Vec<Box<dyn Step<()>>> = vec![Box::new(Never(never))];
        let ended = run(&steps, Mode::Apply, &(), &events).await;
        ended[0].failure.clone().unwrap()
    }

    /// Whoever waited until the end is told of what kind it is, what the machine says and where to look.
    #[tokio::test(start_paused = true)]
    async fn patience_ends_in_the_steps_code_and_the_machines_words() {
        let failure = failure(None).await;
        assert_eq!(failure.code, Code::Vm);
        assert_eq!(
            failure.to_string(),
            "Boot x did not succeed: after 30 s: no agent; its last words: no root file system"
        );
        assert_eq!(failure.hint.as_deref(), Some("look at its console"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failures_own_hint_goes_before_the_steps_and_none_is_without() {
        let hinted = Failure::new(Code::SlicerToken, "refused").hint("compare the tokens");
        let found = failure(Some(hinted)).await;
        assert_eq!(
            (found.code, found.hint.as_deref()),
            (Code::SlicerToken, Some("compare the tokens"))
        );
        let bare = Failure::new(Code::HostKeyChanged, "another machine");
        let found = failure(Some(bare)).await;
        assert_eq!(found.hint.as_deref(), Some("look at its console"));
        assert_eq!(
            found.what, "another machine",
            "a lasting one is not waited for"
        );
    }
}
