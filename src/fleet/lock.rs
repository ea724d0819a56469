//! One run at a time on a cluster, from whichever workstation: a lock on every host of the control plane that answers. Two
//! workstations may reach different hosts, so hosts with most of the servers are needed.

mod majority;
mod place;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use self::majority::{holders, minority, needed};
use self::place::{Lease, LockHost, Taken, me};
use super::Fleet;
use super::note::{Note, newest};
use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::remote::NoteToWrite;

pub use self::majority::Weights;

/// The cluster's lock, ours until it is dropped or lost.
pub struct ClusterLock {
    held: Vec<Held>,
    /// More than half of the servers, where that many hosts could be had.
    needed: usize,
    /// Why fewer hosts are held than the majority needs, where they are.
    minority: Option<Failure>,
    cluster: String,
    who: String,
    command: String,
    /// The newest note that lay on a host when it was taken.
    seen: Option<Note>,
    /// Runs whose note may lie on a host: the one that was seen, and this one once it is noted.
    runs: Arc<Mutex<Vec<String>>>,
}

/// The lock on one host.
struct Held {
    host: String,
    weight: usize,
    keeper: JoinHandle<()>,
    standing: watch::Receiver<Lease>,
    notes: UnboundedSender<NoteToWrite>,
}

/// The locks on all hosts are asked for at once. Who is refused on another host than the first gives those up that it has, so
/// who has the first one tries the others again.
const CONTEST: usize = 4;

/// How often it is looked at whether a lock that is in doubt is ours again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a host may take to write a note.
const WRITING: Duration = Duration::from_secs(15);

impl ClusterLock {
    /// Takes it for `command` on every host of the control plane that is connected, else on any host.
    pub async fn take(
        fleet: &Fleet,
        config: &Config,
        command: &str,
        weights: &Weights,
    ) -> Result<Self> {
        let holders = holders(fleet, config, weights);
        if holders.is_empty() {
            let absent = fleet.absent.first().map(|(_, failure)| failure.clone());
            return Err(absent.unwrap_or_else(|| {
                Failure::new(Code::SshUnreachable, "no host of the cluster answers")
            }));
        }
        let me = me(command)?;
        let runs = Arc::new(Mutex::new(Vec::new()));
        let places = holders.iter().map(|(machine, _)| LockHost {
            machine: Arc::clone(machine),
            cluster: config.name.clone(),
            me: me.clone(),
            runs: Arc::clone(&runs),
        });
        let places: Vec<LockHost> = places.collect();
        let claims = places
            .iter()
            .enumerate()
            .map(|(n, place)| place.contest(if n == 0 { 1 } else { CONTEST }));
        // All or none: what was taken is let go of at once where one is another's. A host that cannot do it counts as absent.
        let mut taken = Vec::new();
        let mut failed = None;
        let claims = try_join_all(claims).await?;
        for ((place, (_, weight)), claim) in places.into_iter().zip(&holders).zip(claims) {
            match claim {
                Ok(claim) => taken.push((place, *weight, claim)),
                Err(failure) => failed = Some(failure),
            }
        }
        if let (true, Some(failure)) = (taken.is_empty(), failed) {
            return Err(failure);
        }
        let notes = taken
            .iter()
            .map(|(place, _, claim)| place.note(&claim.previous));
        let notes: Result<Vec<Option<Note>>> = notes.collect();
        let seen = newest(notes?.into_iter().flatten());
        if let Some(note) = &seen {
            runs.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(note.run.clone());
        }
        let needed = needed(config, weights);
        let weight: usize = taken.iter().map(|(_, weight, _)| weight).sum();
        let here: Vec<String> = taken
            .iter()
            .map(|(place, _, _)| place.machine.name().to_owned())
            .collect();
        let held = taken.into_iter();
        Ok(Self {
            held: held
                .map(|(place, weight, claim)| Held::keep(place, claim, weight))
                .collect(),
            needed: needed.min(weight),
            minority: (weight < needed).then(|| minority(fleet, config, weights, &here)),
            cluster: config.name.clone(),
            who: me.who,
            command: me.command,
            seen,
            runs,
        })
    }

    /// Why another workstation may hold the other hosts, where fewer are held than carry most of the servers.
    pub fn minority(&self) -> Option<&Failure> {
        self.minority.as_ref()
    }

    /// Whose it is: `user@workstation`.
    pub fn me(&self) -> &str {
        &self.who
    }

    /// What it was taken for.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The note of the run that changed something last, as it was when the lock was taken: no later one can be there.
    pub fn seen(&self) -> Option<&Note> {
        self.seen.as_ref()
    }

    /// Leaves a note on the hosts that are held; an error where it could not be written on enough of them.
    pub async fn note(&self, note: &Note) -> Result<()> {
        self.runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note.run.clone());
        let line = note.line()?;
        let written = self.held.iter().map(|held| held.note(line.clone()));
        let (mut weight, mut lacking) = (0, Vec::new());
        for (held, written) in self.held.iter().zip(join_all(written).await) {
            if written {
                weight += held.weight;
            } else {
                lacking.push(held.host.as_str());
            }
        }
        if weight >= self.needed {
            return Ok(());
        }
        Err(Failure::new(
            Code::Command,
            format!("cannot note on {} that this run begins", lacking.join(", ")),
        )
        .because("without the note a run from another workstation would not learn of it")
        .hint(format!(
            "on {}: df -h /etc; ls -l {}",
            lacking.first().unwrap_or(&"the host"),
            Note::path(&self.cluster)
        )))
    }

    /// Whether the lock is ours, by all of its hosts together; `false` while that is in doubt, an error where it is lost.
    fn is_ours(&self) -> Result<bool> {
        let (mut ours, mut open, mut gone) = (0, 0, None);
        for held in &self.held {
            match &*held.standing.borrow() {
                Lease::Lost(failure) => return Err(failure.clone()),
                Lease::Gone(failure) => gone = Some(failure.clone()),
                Lease::Ours(heard) if heard.is_fresh() => ours += held.weight,
                Lease::Ours(_) | Lease::Unknown => open += held.weight,
            }
        }
        match gone {
            Some(gone) if ours + open < self.needed => Err(gone),
            _ => Ok(ours >= self.needed),
        }
    }

    /// Does `work` while the lock is ours: it rests while that is in doubt, and is given up when the lock is another's.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut changes: Vec<_> = self.held.iter().map(|held| held.standing.clone()).collect();
        tokio::pin!(work);
        loop {
            for change in &mut changes {
                change.mark_unchanged();
            }
            let ours = self.is_ours()?;
            // Keepers live as long as we do; one that has ended says nothing more.
            let any = changes.iter_mut().map(|change| {
                Box::pin(async move {
                    if change.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            });
            // Asked before the work is, each time: this workstation may have slept since.
            let in_doubt = std::future::poll_fn(|_| match self.is_ours() {
                Ok(true) => Poll::Pending,
                Ok(false) | Err(_) => Poll::Ready(()),
            });
            tokio::select! {
                biased;
                _ = futures_util::future::select_all(any) => {}
                () = in_doubt, if ours => {}
                done = &mut work, if ours => return Ok(done),
                () = tokio::time::sleep(POLL_INTERVAL), if !ours => {}
            }
        }
    }
}

impl Held {
    fn keep(place: LockHost, taken: Taken, weight: usize) -> Self {
        let Taken { hold, awake, .. } = taken;
        let (told, standing) = watch::channel(Lease::Ours(awake.clone()));
        let (notes, mut to_write) = unbounded_channel();
        Self {
            host: place.machine.name().to_owned(),
            weight,
            keeper: tokio::spawn(async move {
                let end = place.keep(hold, &told, &mut to_write, awake).await;
                told.send_replace(end);
            }),
            standing,
            notes,
        }
    }

    /// Whether a note could be written.
    async fn note(&self, text: String) -> bool {
        let (written, heard) = oneshot::channel();
        if self.notes.send(NoteToWrite { text, written }).is_err() {
            return false;
        }
        matches!(tokio::time::timeout(WRITING, heard).await, Ok(Ok(())))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[cfg(test)]
pub(super) mod tests;
