//! One run at a time on a cluster, from whichever workstation: a lock on every host of the control plane that answers. Two
//! workstations may reach different hosts, so hosts with most of the servers are needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Fleet;
use super::awake::{Awake, clock};
use super::note::Note;
use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::remote::{Claim, Found, Hold, Holder, Leave, Machine};

/// How many servers each host carries.
pub type Weights = BTreeMap<String, usize>;

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

/// The lock on one host, just taken.
struct Taken {
    hold: Hold,
    found: Found,
    awake: Awake,
}

/// The lock on one host.
struct Held {
    host: String,
    weight: usize,
    keeper: JoinHandle<()>,
    standing: watch::Receiver<Standing>,
    notes: UnboundedSender<Leave>,
}

/// How it stands with a lock.
#[derive(Clone)]
enum Standing {
    /// It is ours.
    Ours(Awake),
    /// The way to it was lost: nothing is known until it is found again.
    Unknown,
    /// No way back was found for too long.
    Gone(Failure),
    /// Another run has it, or has had it.
    Lost(Failure),
}

/// After a lost connection our own shell may hold the lock for half a minute more; a host that reboots takes longer.
const REGAIN: Duration = Duration::from_mins(3);

/// Between two tries to get it back.
const PACE: Duration = Duration::from_secs(2);

/// The locks on all hosts are asked for at once. Who is refused on another host than the first gives those up that it has, so
/// who has the first one tries the others again.
const CONTEST: usize = 4;

/// How often it is looked at whether a lock that is in doubt is ours again.
const GLANCE: Duration = Duration::from_secs(1);

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
        let places = holders.iter().map(|(machine, _)| Place {
            machine: Arc::clone(machine),
            cluster: config.name.clone(),
            me: me.clone(),
            runs: Arc::clone(&runs),
        });
        let places: Vec<Place> = places.collect();
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
            .map(|(place, _, claim)| place.note(&claim.found));
        let notes: Result<Vec<Option<Note>>> = notes.collect();
        let seen = notes?.into_iter().flatten();
        let seen = seen.max_by_key(|note| (note.serial, note.at));
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

    /// How it stands with all of them together.
    fn standing(&self) -> Standing {
        let (mut ours, mut open, mut gone, mut awake) = (0, 0, None, None);
        for held in &self.held {
            match &*held.standing.borrow() {
                Standing::Lost(failure) => return Standing::Lost(failure.clone()),
                Standing::Gone(failure) => gone = Some(failure.clone()),
                Standing::Ours(since) if since.is_fresh() => {
                    ours += held.weight;
                    awake = Some(since.clone());
                }
                Standing::Ours(_) | Standing::Unknown => open += held.weight,
            }
        }
        match (awake, gone) {
            (Some(awake), _) if ours >= self.needed => Standing::Ours(awake),
            (_, Some(gone)) if ours + open < self.needed => Standing::Lost(gone),
            _ => Standing::Unknown,
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
            let ours = match self.standing() {
                Standing::Lost(failure) | Standing::Gone(failure) => return Err(failure),
                Standing::Ours(_) => true,
                Standing::Unknown => false,
            };
            // Keepers live as long as we do; one that has ended says nothing more.
            let any = changes.iter_mut().map(|change| {
                Box::pin(async move {
                    if change.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            });
            // Asked before the work is, each time: this workstation may have slept since.
            let in_doubt = std::future::poll_fn(|_| match self.standing() {
                Standing::Ours(_) => Poll::Pending,
                _ => Poll::Ready(()),
            });
            tokio::select! {
                biased;
                _ = futures_util::future::select_all(any) => {}
                () = in_doubt, if ours => {}
                done = &mut work, if ours => return Ok(done),
                () = tokio::time::sleep(GLANCE), if !ours => {}
            }
        }
    }
}

impl Held {
    fn keep(place: Place, taken: Taken, weight: usize) -> Self {
        let Taken { hold, awake, .. } = taken;
        let (told, standing) = watch::channel(Standing::Ours(awake.clone()));
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
        if self.notes.send(Leave { text, written }).is_err() {
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

/// The hosts that the lock is to lie on, each with how many servers it carries. Before any server is planned, every host of
/// the control plane counts alike.
fn holders<'f>(
    fleet: &'f Fleet,
    config: &Config,
    weights: &Weights,
) -> Vec<(&'f Arc<Machine>, usize)> {
    let control_plane: Vec<_> = carriers(config, weights)
        .into_iter()
        .filter_map(|name| Some((fleet.machines.get(name)?, weight(weights, name))))
        .collect();
    if !control_plane.is_empty() {
        return control_plane;
    }
    let mut hosts = config.hosts.iter();
    let any = hosts.find_map(|host| fleet.machines.get(&host.name));
    any.map(|machine| (machine, 1)).into_iter().collect()
}

fn weight(weights: &Weights, host: &str) -> usize {
    match weights.get(host) {
        Some(weight) => *weight,
        None => usize::from(weights.is_empty()),
    }
}

/// The hosts of the control plane, in order: those of cluster.toml, and those that carry servers whatever that says by now.
fn carriers<'c>(config: &'c Config, weights: &'c Weights) -> Vec<&'c str> {
    let mut carriers: Vec<&str> = Vec::new();
    let hosts = config.control_plane.hosts.iter();
    for host in hosts.chain(weights.keys()) {
        if !carriers.contains(&host.as_str()) {
            carriers.push(host);
        }
    }
    carriers
}

/// The least number of servers whose hosts must be held.
fn needed(config: &Config, weights: &Weights) -> usize {
    let hosts = carriers(config, weights).into_iter();
    let all: usize = hosts.map(|name| weight(weights, name)).sum();
    all / 2 + 1
}

fn minority(fleet: &Fleet, config: &Config, weights: &Weights, here: &[String]) -> Failure {
    let absent = carriers(config, weights).into_iter();
    let absent: Vec<&str> = absent
        .filter(|name| !here.iter().any(|here| here == name))
        .collect();
    let why = fleet
        .absent
        .iter()
        .find(|(name, _)| absent.contains(&&**name))
        .map_or_else(String::new, |(_, failure)| format!(": {failure}"));
    Failure::new(
        Code::Locked,
        "too few hosts of the control plane can be locked from here",
    )
    .because(format!(
        "{} cannot{why}; the cluster runs, and another workstation that reaches them could be at work on it",
        absent.join(", ")
    ))
    .hint("run it where hosts with most of the servers can be reached")
}

/// A host that the lock lies on, and who takes it.
struct Place {
    machine: Arc<Machine>,
    cluster: String,
    me: Holder,
    runs: Arc<Mutex<Vec<String>>>,
}

impl Place {
    async fn claim(&self) -> Result<Claim> {
        let notes = Note::path(&self.cluster);
        self.machine.claim(&self.cluster, &notes, &self.me).await
    }

    /// The note that was found there.
    fn note(&self, found: &Found) -> Result<Option<Note>> {
        let text = found.note.as_deref();
        text.map(|text| Note::read(self.machine.name(), &self.cluster, text))
            .transpose()
    }

    /// Takes it, with so many tries. The outer failure is that another run has it.
    async fn contest(&self, tries: usize) -> Result<Result<Taken>> {
        let mut other = None;
        for _ in 0..tries {
            let awake = Awake::now();
            match self.claim().await {
                Ok(Claim::Ours(hold, found)) => return Ok(Ok(Taken { hold, found, awake })),
                Ok(Claim::Theirs(holder)) => other = holder,
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
    async fn keep(
        self,
        mut hold: Hold,
        told: &watch::Sender<Standing>,
        notes: &mut UnboundedReceiver<Leave>,
        awake: Awake,
    ) -> Standing {
        loop {
            told.send_replace(Standing::Ours(awake.clone()));
            // Who waits since this workstation slept goes on at the first answer.
            let alive = |sent| {
                let slept = !awake.is_fresh();
                awake.beat(sent);
                if slept && awake.is_fresh() {
                    told.send_replace(Standing::Ours(awake.clone()));
                }
            };
            hold.keep(notes, clock, alive).await;
            told.send_replace(Standing::Unknown);
            let asked = clock();
            hold = match tokio::time::timeout(REGAIN, self.regain()).await {
                Ok(Ok(hold)) => {
                    awake.beat(asked);
                    hold
                }
                Ok(Err(failure)) => return Standing::Lost(failure),
                Err(_) => {
                    return Standing::Gone(
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
    async fn regain(&self) -> Result<Hold> {
        loop {
            match self.claim().await {
                Ok(Claim::Ours(hold, found)) => {
                    return if self.was_ours(&found)? {
                        Ok(hold)
                    } else {
                        Err(self.overtaken())
                    };
                }
                Ok(Claim::Theirs(Some(holder))) if holder.mark != self.me.mark => {
                    return Err(self.taken(Some(&holder)));
                }
                // Our own shell that has not noticed yet, or a host that is on its way back.
                Ok(Claim::Theirs(_)) | Err(_) => tokio::time::sleep(PACE).await,
            }
        }
    }

    /// Whether no other run has had the lock since it was ours: by who held it last, and after a reboot by the note of the run
    /// that changed something last.
    fn was_ours(&self, found: &Found) -> Result<bool> {
        if !found.last.is_empty() {
            return Ok(found.last == self.me.mark);
        }
        let note = self.note(found)?;
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
fn me(command: &str) -> Result<Holder> {
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

#[cfg(test)]
mod tests;
