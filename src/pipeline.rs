//! The engine: a step is a fact that we want true. Check; if it does not hold, apply; check again
//! until it holds or the step's patience is over.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::event::{Event, Events, Outcome};
use crate::failure::{Code, Failure, Result};
use crate::world::World;

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

/// A step's identity: its name and the machine, group or server it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId {
    /// The step's file name in `steps/`, in kebab case: also its anchor in the docs.
    pub name: &'static str,
    /// The host, group, server or "cluster".
    pub subject: String,
}

impl StepId {
    /// The identity of step `name` about `subject`.
    pub fn new(name: &'static str, subject: impl Into<String>) -> Self {
        Self {
            name,
            subject: subject.into(),
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.subject)
    }
}

/// Permission to change a machine; only the engine makes one, only when applying.
pub struct Hands(());

#[cfg(test)]
pub(crate) mod testing {
    //! Hands for tests of what steps do with them.

    /// Permission, without an engine.
    pub(crate) fn hands() -> super::Hands {
        super::Hands(())
    }
}

/// One fact that we want true.
#[async_trait]
pub trait Step: Send + Sync {
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
    /// The next thing to try when patience is over.
    fn hint(&self) -> String;
    /// Looks; changes nothing.
    async fn check(&self, world: &World) -> Result<Finding>;
    /// What applying would change, as a unified diff for people; empty where there is nothing to show.
    async fn diff(&self, _: &World) -> Result<String> {
        Ok(String::new())
    }
    /// Makes it so; need not wait: the engine checks again until patience is over.
    async fn apply(&self, world: &World, hands: &Hands) -> Result<()>;
}

/// Whether a run may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Make every fact true.
    Apply,
    /// Say what would change.
    Look,
}

/// When a step was at work, and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From the start of the run to the step's own.
    pub began: Duration,
    /// All of it: looking, applying, waiting.
    pub took: Duration,
    /// Of that, applying.
    pub applied: Duration,
    /// Of that, waiting for what was applied to become true.
    pub waited: Duration,
    /// The step whose end it waited for last before it began.
    pub after: Option<StepId>,
}

impl Span {
    /// From the start of the run to the step's end.
    pub fn end(&self) -> Duration {
        self.began + self.took
    }
}

/// How one step ended, with the reason where there is one.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which step.
    pub id: StepId,
    /// How it ended.
    pub outcome: Outcome,
    /// The failure, where it failed.
    pub failure: Option<Failure>,
    /// When.
    pub span: Span,
}

/// The chain of steps that made the run as long as it was: from the one that ended last back along what each waited
/// for last; in the order they ran.
pub fn critical_path(ended: &[Ended]) -> Vec<&Ended> {
    let ran = || ended.iter().filter(|step| step.outcome != Outcome::Skipped);
    let mut path = Vec::new();
    let mut next = ran().max_by_key(|step| step.span.end());
    while let Some(step) = next {
        path.push(step);
        next = ran().find(|before| Some(&before.id) == step.span.after.as_ref());
    }
    path.reverse();
    path
}

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
                events.send(Event::ended(step.as_ref(), Outcome::Kept, &note, &span));
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

/// Runs steps side by side, each as soon as what it needs holds; returns how each ended, in the given order.
pub async fn run(
    steps: &[Box<dyn Step>],
    mode: Mode,
    world: &World,
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
                    events.send(Event::ended(step.as_ref(), Outcome::Skipped, &why, &span));
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
async fn ready(step: &dyn Step, mode: Mode, gates: &Gates) -> Waited {
    let mut blocker = None;
    let mut last: Option<(Instant, &StepId)> = None;
    let needs = step.needs();
    let after = step.after();
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
async fn one(step: &dyn Step, mode: Mode, world: &World, events: &Events, mut span: Span) -> Ended {
    let started = Instant::now();
    events.send(Event::started(step, span.began));
    let result = match mode {
        Mode::Look => look(step, world).await,
        Mode::Apply => apply(step, world, events, &mut span).await,
    };
    span.took = started.elapsed();
    let (outcome, note, failure) = match result {
        Ok((outcome, note)) => (outcome, note, None),
        Err(failure) => (Outcome::Failed, failure.to_string(), Some(failure)),
    };
    // A difference that cannot be had is no failure of a look: what and why are told all the same.
    let diff = match outcome {
        Outcome::Would => step.diff(world).await.unwrap_or_default(),
        _ => String::new(),
    };
    events.send(Event::ended(step, outcome, &note, &span));
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
async fn look(step: &dyn Step, world: &World) -> Result<(Outcome, String)> {
    match step.check(world).await {
        Ok(Finding::Done(note)) => Ok((Outcome::Kept, note)),
        Ok(Finding::Differs(why) | Finding::Unknown(why)) => Ok((Outcome::Would, why)),
        Err(failure) if failure.is_lasting() => Err(failure),
        Err(failure) => Ok((Outcome::Would, failure.to_string())),
    }
}

/// Apply mode: check, apply once, check until done or out of patience.
async fn apply(
    step: &dyn Step,
    world: &World,
    events: &Events,
    span: &mut Span,
) -> Result<(Outcome, String)> {
    match step.check(world).await {
        Ok(Finding::Done(note)) => return Ok((Outcome::Kept, note)),
        Err(failure) if failure.is_lasting() => return Err(failure),
        Ok(Finding::Differs(_) | Finding::Unknown(_)) | Err(_) => {}
    }
    let started = Instant::now();
    let applied = step.apply(world, &Hands(())).await;
    span.applied = started.elapsed();
    applied?;
    let result = hold(step, world, events, started).await;
    span.waited = started.elapsed().saturating_sub(span.applied);
    result
}

/// Checks what was applied until it holds or patience is over.
async fn hold(
    step: &dyn Step,
    world: &World,
    events: &Events,
    started: Instant,
) -> Result<(Outcome, String)> {
    let patience = step.patience();
    loop {
        let (why, failure) = match step.check(world).await {
            Ok(Finding::Done(note)) => return Ok((Outcome::Changed, note)),
            Ok(Finding::Differs(why) | Finding::Unknown(why)) => (why, None),
            Err(failure) if failure.is_lasting() => return Err(failure),
            Err(failure) => (failure.to_string(), Some(failure)),
        };
        if started.elapsed() >= patience {
            let code = failure.map_or(Code::Command, |failure| failure.code);
            return Err(
                Failure::new(code, format!("{} did not succeed", step.title()))
                    .because(format!("after {} s: {why}", patience.as_secs()))
                    .hint(step.hint()),
            );
        }
        events.send(Event::waiting(step, &why, started.elapsed(), patience));
        tokio::time::sleep(step.pace()).await;
    }
}
