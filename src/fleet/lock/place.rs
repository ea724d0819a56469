//! The lock on one host: taken, kept, and taken again when the way to the host was lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::super::awake::{Awake, clock};
use super::super::note::Note;
use crate::failure::{Code, Failure, Result};
use crate::question::limited;
use crate::remote::{Acquired, Holder, LockGuard, Machine, NoteToWrite, Previous};

/// How it stands with a lock.
#[derive(Clone)]
pub(super) enum Lease {
    /// It is ours.
    Ours(Awake),
    /// The way to it was lost: nothing is known until it is found again.
    Unknown,
    /// No way back was found for too long.
    Gone(Failure),
    /// Another run has it, or has had it.
    Lost(Failure),
}

/// The lock on one host, just taken.
pub(super) struct Taken {
    pub(super) hold: LockGuard,
    pub(super) previous: Previous,
    pub(super) awake: Awake,
}

/// After a lost connection our own shell may hold the lock for half a minute more; a host that reboots takes longer.
const REGAIN: Duration = Duration::from_mins(3);

/// Between two tries to get it back.
const PACE: Duration = Duration::from_secs(2);

/// A host that the lock lies on, and who takes it.
pub(super) struct LockHost {
    pub(super) machine: Arc<Machine>,
    pub(super) cluster: String,
    pub(super) me: Holder,
    /// Runs whose note may lie there.
    pub(super) runs: Arc<Mutex<Vec<String>>>,
}

impl LockHost {
    async fn claim(&self) -> Result<Acquired> {
        let notes = Note::path(&self.cluster);
        self.machine.claim(&self.cluster, &notes, &self.me).await
    }

    /// The note that was found there.
    pub(super) fn note(&self, previous: &Previous) -> Result<Option<Note>> {
        let text = previous.note.as_deref();
        text.map(|text| Note::read(self.machine.name(), &self.cluster, text))
            .transpose()
    }

    /// Takes it, with so many tries. The outer failure is that another run has it.
    pub(super) async fn contest(&self, tries: usize) -> Result<Result<Taken>> {
        let mut other = None;
        for _ in 0..tries {
            let awake = Awake::now();
            match self.claim().await {
                Ok(Acquired::Ours(hold, previous)) => {
                    return Ok(Ok(Taken {
                        hold,
                        previous,
                        awake,
                    }));
                }
                Ok(Acquired::Theirs(holder)) => other = holder,
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Err(self.taken(other.as_ref()))
    }

    fn taken(&self, holder: Option<&Holder>) -> Failure {
        let host = self.machine.name();
        let failure = Failure::new(Code::Locked, "another slicer-k3s works on this cluster")
            .hint("wait for it; should it be dead, its lock ends within 30 s");
        match holder {
            Some(Holder {
                who,
                command,
                seconds,
                ..
            }) => failure.because(format!(
                "{who} has been running {command} for {seconds} s (lock on {host})"
            )),
            None => failure.because(format!(
                "it holds /run/slicer-k3s/{}.lock on {host}",
                self.cluster
            )),
        }
    }

    /// Keeps the lock, and takes it again when the way to the host was lost: ends when that fails.
    pub(super) async fn keep(
        self,
        mut hold: LockGuard,
        told: &watch::Sender<Lease>,
        notes: &mut UnboundedReceiver<NoteToWrite>,
        awake: Awake,
    ) -> Lease {
        loop {
            told.send_replace(Lease::Ours(awake.clone()));
            // Who waits since this workstation slept goes on at the first answer.
            let alive = |sent| {
                let slept = !awake.is_fresh();
                awake.beat(sent);
                if slept && awake.is_fresh() {
                    told.send_replace(Lease::Ours(awake.clone()));
                }
            };
            hold.keep(notes, clock, alive).await;
            told.send_replace(Lease::Unknown);
            let asked = clock();
            hold = match limited(REGAIN, self.reacquire()).await {
                Ok(Ok(hold)) => {
                    awake.beat(asked);
                    hold
                }
                Ok(Err(failure)) => return Lease::Lost(failure),
                Err(_) => {
                    return Lease::Gone(
                        Failure::new(
                            Code::Locked,
                            format!("the cluster's lock on {} was lost", self.machine.name()),
                        )
                        .because(format!("no way there for {} s", REGAIN.as_secs()))
                        .hint("run the same command again: it goes on from here"),
                    );
                }
            };
        }
    }

    /// Tries until the lock is ours again, or another run has it or has had it meanwhile.
    async fn reacquire(&self) -> Result<LockGuard> {
        loop {
            match self.claim().await {
                Ok(Acquired::Ours(hold, previous)) => {
                    return if self.was_ours(&previous)? {
                        Ok(hold)
                    } else {
                        Err(self.overtaken())
                    };
                }
                Ok(Acquired::Theirs(Some(holder))) if holder.mark != self.me.mark => {
                    return Err(self.taken(Some(&holder)));
                }
                // Our own shell that has not noticed yet, or a host that is on its way back.
                Ok(Acquired::Theirs(_)) | Err(_) => tokio::time::sleep(PACE).await,
            }
        }
    }

    /// Whether no other run has had the lock since it was ours: by who held it last, and after a reboot by the note of the run
    /// that changed something last.
    pub(super) fn was_ours(&self, previous: &Previous) -> Result<bool> {
        if !previous.last.is_empty() {
            return Ok(previous.last == self.me.mark);
        }
        let note = self.note(previous)?;
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(note.map_or(runs.is_empty(), |note| runs.contains(&note.run)))
    }

    fn overtaken(&self) -> Failure {
        Failure::new(
            Code::Locked,
            "another slicer-k3s has worked on this cluster meanwhile",
        )
        .because(format!(
            "the way to {} was lost, and the lock there was another run's before it was found again",
            self.machine.name()
        ))
        .hint("run the same command again: it goes on from what is there now")
    }
}

/// Who we are, as others are told: one line each.
pub(super) fn me(command: &str) -> Result<Holder> {
    let mark = crate::secret::random_hex(8)
        .map_err(|error| Failure::new(Code::LocalFile, "no random numbers").because(error))?;
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let name = rustix::system::uname();
    let who = format!(
        "{}@{}",
        user.as_deref().unwrap_or("somebody"),
        name.nodename().to_string_lossy()
    );
    Ok(Holder {
        mark,
        who: who
            .replace(char::is_control, "")
            .chars()
            .take(128)
            .collect(),
        command: format!("slicer-k3s {command}"),
        seconds: 0,
    })
}
