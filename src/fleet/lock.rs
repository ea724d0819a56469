//! One run at a time on a cluster, from whichever workstation: the lock lies on its first host that answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Fleet;
use crate::config::Config;
use crate::failure::{Code, Failure, Result};
use crate::remote::{Claim, Hold, Holder, Machine};

/// The cluster's lock, ours until it is dropped or lost.
pub struct ClusterLock {
    keeper: JoinHandle<()>,
    standing: watch::Receiver<Standing>,
    notes: UnboundedSender<String>,
    noted: String,
    who: String,
}

/// How it stands with a lock.
#[derive(Clone)]
enum Standing {
    /// It is ours.
    Ours,
    /// The way to it was lost: nobody knows until it is found again.
    Unknown,
    /// Another run may have begun.
    Lost(Failure),
}

/// After a lost connection our own shell may hold the lock for half a minute more; a host that reboots takes longer.
const REGAIN: Duration = Duration::from_mins(3);

/// Between two tries to get it back.
const PACE: Duration = Duration::from_secs(2);

impl ClusterLock {
    /// Takes it for `command` on the first host of the control plane that is connected, else on any.
    pub async fn take(fleet: &Fleet, config: &Config, command: &str) -> Result<Self> {
        let machine = holder(fleet, config).ok_or_else(|| {
            let absent = fleet.absent.first().map(|(_, failure)| failure.clone());
            absent.unwrap_or_else(|| {
                Failure::new(Code::SshUnreachable, "no host of the cluster answers")
            })
        })?;
        let place = Place {
            machine: Arc::clone(machine),
            cluster: config.name.clone(),
            me: me(command)?,
        };
        let (hold, earlier) = place.claim().await?;
        let who = place.me.who.clone();
        let (told, standing) = watch::channel(Standing::Ours);
        let (notes, mut to_write) = unbounded_channel();
        Ok(Self {
            keeper: tokio::spawn(async move {
                let lost = place.keep(hold, &told, &mut to_write).await;
                told.send_replace(Standing::Lost(lost));
            }),
            standing,
            notes,
            noted: earlier,
            who,
        })
    }

    /// What whoever held it last has noted for the next; empty where nobody did since that host booted.
    pub fn noted(&self) -> &str {
        &self.noted
    }

    /// Whose it is: `user@workstation`.
    pub fn me(&self) -> &str {
        &self.who
    }

    /// Notes something for the next.
    pub fn note(&self, text: String) {
        // A keeper that has ended has lost the lock, which is told where work is done.
        let _ = self.notes.send(text);
    }

    /// Does `work` while the lock is ours: it rests while nobody knows, and is given up when the lock is another's.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut standing = self.standing.clone();
        tokio::pin!(work);
        loop {
            let now = standing.borrow_and_update().clone();
            let ours = match now {
                Standing::Lost(failure) => return Err(failure),
                Standing::Ours => true,
                Standing::Unknown => false,
            };
            tokio::select! {
                biased;
                // The keeper lives as long as we do.
                _ = standing.changed() => {}
                done = &mut work, if ours => return Ok(done),
            }
        }
    }
}

impl Drop for ClusterLock {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// The host that the lock lies on.
fn holder<'f>(fleet: &'f Fleet, config: &Config) -> Option<&'f Arc<Machine>> {
    let hosts = config.hosts.iter().map(|host| &host.name);
    let first = config.control_plane.hosts.iter();
    first.chain(hosts).find_map(|name| fleet.machines.get(name))
}

/// What whoever held the lock last has noted for the next; empty where nobody did since that host booted, or where it
/// does not tell.
pub async fn noted(fleet: &Fleet, config: &Config) -> String {
    match holder(fleet, config) {
        Some(machine) => machine.lock_note(&config.name).await.unwrap_or_default(),
        None => String::new(),
    }
}

/// Where the lock lies and who wants it.
struct Place {
    machine: Arc<Machine>,
    cluster: String,
    me: Holder,
}

impl Place {
    async fn claim(&self) -> Result<(Hold, String)> {
        match self.machine.claim(&self.cluster, &self.me).await? {
            Claim::Ours(hold, note) => Ok((hold, note)),
            Claim::Theirs(holder) => Err(self.taken(holder.as_ref())),
        }
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
        notes: &mut UnboundedReceiver<String>,
    ) -> Failure {
        loop {
            told.send_replace(Standing::Ours);
            hold.keep(notes).await;
            told.send_replace(Standing::Unknown);
            hold = match tokio::time::timeout(REGAIN, self.regain()).await {
                Ok(Ok(hold)) => hold,
                Ok(Err(failure)) => return failure,
                Err(_) => {
                    return Failure::new(
                        Code::Locked,
                        format!("the cluster's lock on {} was lost", self.machine.name()),
                    )
                    .because(format!("no way there for {} s", REGAIN.as_secs()))
                    .hint("run the same command again: it goes on from here");
                }
            };
        }
    }

    /// Tries until the lock is ours again or another's.
    async fn regain(&self) -> Result<Hold> {
        loop {
            match self.machine.claim(&self.cluster, &self.me).await {
                Ok(Claim::Ours(hold, _)) => return Ok(hold),
                Ok(Claim::Theirs(Some(holder))) if holder.mark != self.me.mark => {
                    return Err(self.taken(Some(&holder)));
                }
                // Our own shell that has not noticed yet, or a host that is on its way back.
                Ok(Claim::Theirs(_)) | Err(_) => tokio::time::sleep(PACE).await,
            }
        }
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
        who: who.replace(char::is_control, ""),
        command: format!("slicer-k3s {command}"),
        seconds: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> (watch::Sender<Standing>, ClusterLock) {
        let (told, standing) = watch::channel(Standing::Ours);
        let lock = ClusterLock {
            keeper: tokio::spawn(std::future::pending()),
            standing,
            notes: unbounded_channel().0,
            noted: String::new(),
            who: String::new(),
        };
        (told, lock)
    }

    /// Another may have begun meanwhile: nothing may be done before that is known.
    #[tokio::test]
    async fn work_rests_while_the_lock_is_in_doubt_and_goes_on_when_it_is_ours() {
        let (told, lock) = lock();
        told.send_replace(Standing::Unknown);
        let work = lock.during(async { 7 });
        tokio::pin!(work);
        let rest = tokio::time::timeout(Duration::from_millis(50), &mut work).await;
        assert!(rest.is_err());
        told.send_replace(Standing::Ours);
        assert_eq!(work.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_is_given_up_when_the_lock_is_anothers() {
        let (told, lock) = lock();
        let lost = Failure::new(Code::Locked, "another");
        told.send_replace(Standing::Lost(lost.clone()));
        let never = lock.during(std::future::pending::<()>()).await;
        assert_eq!(never.unwrap_err(), lost);
    }
}
