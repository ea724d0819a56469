//! The right to act on a cluster: no other run does, from this workstation or another. Who only looks needs none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;

use super::context::StateDir;
use crate::config::Config;
use crate::escape::escape;
use crate::failure::{Code, Failure, Result};
use crate::fleet::{self, ClusterLock, Fleet, Note, Replaced, Weights};
use crate::kubernetes::Kubernetes;
use crate::plan::Plan;
use crate::question::limited;
use crate::state::{Lock, Secrets, State};
use crate::time::{unix_time, utc};
use crate::world::World;

/// This workstation's lock, and the log of the command that takes it. No command can act without either.
pub(super) struct Here(Lock);

impl Here {
    /// Takes the lock of a cluster's state directory for `command`, and begins its log.
    pub(super) fn take(home: &StateDir, command: &str) -> Result<Self> {
        let lock = Lock::take(home.path(), command)?;
        crate::log::begin(&home.logs(), command);
        Ok(Self(lock))
    }
}

/// Ours until it is dropped.
pub(super) struct RunLock {
    here: Here,
    there: ClusterLock,
    /// The run's random id.
    run: String,
    /// What is to be noted before anything is changed, until it is.
    next: Mutex<Option<Note>>,
    /// Whether the note is there.
    announced: AtomicBool,
}

/// How long a server may take to say whether the cluster runs.
const ANSWER: Duration = Duration::from_secs(15);

impl RunLock {
    /// Takes the cluster's lock for `command`, where this workstation's is ours already. Refused where another run changed the
    /// cluster since: what `state` does not know it would take away. `last` is the cluster's last plan, where there is one.
    pub(super) async fn take(
        here: Here,
        fleet: &Fleet,
        config: &Config,
        command: &str,
        state: &State,
        last: Option<&Plan>,
    ) -> Result<Self> {
        let (turn, marks) = tokio::join!(
            Self::take_over(here, fleet, config, command, state),
            fleet::marks(fleet, &config.name)
        );
        let turn = turn?;
        // What a newer release wrote there, or no one can read, is not ours to replace.
        marks?;
        if let (Some(failure), Some(plan)) = (turn.there.minority(), last) {
            let machines = fleet.machines.clone();
            let world = World::new(plan.clone(), state.secrets.clone(), machines);
            if runs(&world).await {
                return Err(failure.clone());
            }
        }
        match news(state, turn.there.seen()) {
            Some(failure) => Err(failure),
            None => Ok(turn),
        }
    }

    /// The same for who goes by what the hosts hold, not by what is recorded here.
    pub(super) async fn take_over(
        here: Here,
        fleet: &Fleet,
        config: &Config,
        command: &str,
        state: &State,
    ) -> Result<Self> {
        let there = ClusterLock::take(fleet, config, command, &weights(state)).await?;
        let run = crate::secret::random_hex(8)
            .map_err(|error| Failure::new(Code::LocalFile, "no random numbers").because(error))?;
        Ok(Self {
            here,
            there,
            run,
            next: Mutex::new(None),
            announced: AtomicBool::new(false),
        })
    }

    /// Refused where what was read before the lock was ours may be old: another run has left a later note than `read`, or may be
    /// at work on hosts that cannot be locked from here while the cluster `runs`.
    pub(super) fn unchanged(&self, read: Option<&Note>, runs: bool) -> Result<()> {
        let failure = doubtful(self.there.minority(), runs, read, self.there.seen());
        failure.map_or(Ok(()), Err)
    }

    /// The run's random id.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// Has `state` remember the run before, and this one once it has changed something, and prepares what is noted for the next
    /// one: to be called before the state is saved, or any other file is written here. The person may have been asked before,
    /// and another run have come and gone until the answer: a failure then.
    pub(super) async fn record(&self, state: &mut State) -> Result<()> {
        self.during(async {}).await?;
        if let Some(seen) = self.there.seen() {
            state.remember(&seen.run);
        }
        if self.announced.load(Ordering::Relaxed) {
            state.remember(&self.run);
        }
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.note(state));
        Ok(())
    }

    fn note(&self, state: &State) -> Note {
        let now = unix_time();
        let who = self.there.me().to_owned();
        let fresh = Note::new(
            self.run.clone(),
            who.clone(),
            self.there.command().into(),
            now,
        );
        let (server_token, agent_token) = hashes(&state.secrets);
        let seen = self.there.seen();
        let replaced = |now_in_use: &str, then: fn(&Note) -> (&String, &Option<Replaced>)| {
            let (token, replaced) = seen.map(then)?;
            if token == now_in_use {
                return replaced.clone();
            }
            Some(Replaced {
                at: now,
                who: who.clone(),
            })
        };
        Note {
            serial: seen.map_or(1, |seen| seen.serial.saturating_add(1)),
            decisions: state.decisions.fingerprint(),
            server_token_replaced: replaced(&server_token, |note| {
                (&note.server_token, &note.server_token_replaced)
            }),
            agent_token_replaced: replaced(&agent_token, |note| {
                (&note.agent_token, &note.agent_token_replaced)
            }),
            server_token,
            agent_token,
            ..fresh
        }
    }

    /// Leaves the note for the next run on the hosts, where one is prepared and not there yet: before anything is changed. That
    /// it is a run of ours is on record before.
    pub(super) async fn announce(&self) -> Result<()> {
        let next = self
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(note) = next else {
            return Ok(());
        };
        let directory = self.here.0.directory();
        if let Some(mut state) = State::open(directory)? {
            state.remember(&self.run);
            state.save(directory)?;
        }
        self.there.note(&note).await?;
        self.announced.store(true, Ordering::Relaxed);
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Does `work` as long as it is our turn.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        self.there.during(work).await
    }
}

/// How many servers each host carries, as far as that is decided.
fn weights(state: &State) -> Weights {
    let mut weights = Weights::new();
    for server in &state.decisions.servers {
        *weights.entry(server.host.clone()).or_default() += 1;
    }
    weights
}

/// SHA-256 of the servers' and of the agents' token.
fn hashes(secrets: &Secrets) -> (String, String) {
    (secrets.server_token.sha256(), secrets.agent_token.sha256())
}

/// Whether a server that can be reached says that the cluster runs: its API is ready, which takes a quorum.
async fn runs(world: &World) -> bool {
    let asked = world.plan.servers_here().map(|server| async move {
        let ready = async {
            let server = world.server(server).await?.clone();
            Kubernetes::on(server).ready().await
        };
        let answer = limited(ANSWER, ready).await;
        matches!(answer, Ok(Ok(Ok(()))))
    });
    join_all(asked).await.into_iter().any(|ready| ready)
}

/// The refusal of a run that has read `read` where another one has left the note `seen` since, or may be at work: of a cluster
/// that `runs` only a `minority` is locked.
fn doubtful(
    minority: Option<&Failure>,
    runs: bool,
    read: Option<&Note>,
    seen: Option<&Note>,
) -> Option<Failure> {
    if let Some(failure) = minority.filter(|_| runs) {
        return Some(failure.clone());
    }
    let seen = seen.filter(|seen| read.is_none_or(|read| read.run != seen.run))?;
    Some(
        Failure::new(
            Code::Locked,
            "another run changed the cluster while this one read it",
        )
        .because(format!("{} did", escape(&seen.who)))
        .hint("run again: nothing was written"),
    )
}

/// What another run did that is not on record here.
pub(super) fn news(state: &State, seen: Option<&Note>) -> Option<Failure> {
    let note = seen?;
    if state.decisions.groups.is_empty() || state.runs.contains(&note.run) {
        return None;
    }
    let secrets = &state.secrets;
    let retired = &secrets.retired;
    // A rotation of ours that was not announced yet has retired the token that is in use there.
    let ours = |noted: &str, tokens: [Option<&crate::secret::Secret>; 2]| {
        let mut tokens = tokens.into_iter().flatten();
        tokens.any(|token| token.sha256() == noted)
    };
    let tokens = [
        (
            "servers'",
            ours(
                &note.server_token,
                [Some(&secrets.server_token), retired.server.as_ref()],
            ),
            &note.server_token_replaced,
        ),
        (
            "agents'",
            ours(
                &note.agent_token,
                [Some(&secrets.agent_token), retired.agent.as_ref()],
            ),
            &note.agent_token_replaced,
        ),
    ];
    if let Some((which, _, replaced)) = tokens.iter().find(|(_, ours, _)| !ours) {
        let (who, at) = replaced.as_ref().map_or((&note.who, note.at), |replaced| {
            (&replaced.who, replaced.at)
        });
        let at = utc(UNIX_EPOCH + Duration::from_secs(at.min(LATEST)));
        return Some(
            Failure::new(
                Code::RecordConflict,
                format!(
                    "the {which} token of {} was replaced from elsewhere",
                    state.cluster
                ),
            )
            .because(format!(
                "{} did so at {at}; the token on record here is revoked",
                escape(who)
            ))
            .hint("slicer-k3s import --force takes over the tokens and all else from the hosts"),
        );
    }
    if state.decisions.has_fingerprint(&note.decisions) {
        return None;
    }
    Some(
        Failure::new(
            Code::RecordConflict,
            format!("{} was changed from elsewhere", state.cluster),
        )
        .because(format!(
            "{} acted last, on hosts or groups that are not on record here",
            escape(&note.who)
        ))
        .hint("put that person's cluster.toml in the place of yours; then slicer-k3s import --force gets the rest from the hosts"),
    )
}

/// The last second of the year 9999: what a machine says is not to overflow a date.
const LATEST: u64 = 253_402_300_799;

#[cfg(test)]
mod tests;
