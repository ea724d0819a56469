//! VMs that are nothing but directories: commands run where the tests run.

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context, Result};
use tokio::{process::Command, sync::oneshot};

use super::{Doing, Ending, Entry, Health, Launch, Machines};
use crate::daemon::{group::Group, record::Record};

/// The pretended machines.
#[derive(Default)]
pub(crate) struct Pretend {
    running: Mutex<BTreeMap<String, Guest>>,
    /// Disks that exist.
    pub(crate) disks: Mutex<Vec<String>>,
    /// How long boots and ends take, in milliseconds.
    pub(crate) slow: std::sync::atomic::AtomicU64,
    /// When set, agents never answer.
    pub(crate) mute: std::sync::atomic::AtomicBool,
}

struct Guest {
    ended: Option<oneshot::Sender<Ending>>,
    userdata: bool,
}

impl Pretend {
    async fn take_time(&self) {
        let millis = self.slow.load(std::sync::atomic::Ordering::Relaxed);
        if millis > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        }
    }
}

impl Machines for Pretend {
    fn open<'a>(&'a self, _: &'a Group) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn close<'a>(&'a self, _: &'a Group) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn boot<'a>(&'a self, launch: &'a Launch) -> Doing<'a, oneshot::Receiver<Ending>> {
        Box::pin(async move {
            self.take_time().await;
            let (sender, receiver) = oneshot::channel();
            let guest = Guest {
                ended: Some(sender),
                userdata: launch.userdata.is_some(),
            };
            let hostname = launch.record.hostname.clone();
            let mut disks = self.disks.lock().unwrap();
            if !disks.contains(&hostname) {
                disks.push(hostname.clone());
            }
            self.running.lock().unwrap().insert(hostname, guest);
            Ok(receiver)
        })
    }

    fn ask(&self, hostname: &str, ending: Ending) -> Result<()> {
        let mut guest = self
            .running
            .lock()
            .unwrap()
            .remove(hostname)
            .context("not running")?;
        let _ = guest.ended.take().context("ended already")?.send(ending);
        Ok(())
    }

    fn kill<'a>(&'a self, record: &'a Record) -> Doing<'a, ()> {
        Box::pin(async move {
            self.take_time().await;
            if let Some(mut guest) = self.running.lock().unwrap().remove(&record.hostname)
                && let Some(ended) = guest.ended.take()
            {
                let _ = ended.send(Ending::Death);
            }
            Ok(())
        })
    }

    fn has_disk(&self, hostname: &str) -> bool {
        self.disks
            .lock()
            .unwrap()
            .iter()
            .any(|disk| disk == hostname)
    }

    fn discard<'a>(&'a self, hostname: &'a str) -> Doing<'a, ()> {
        Box::pin(async move {
            self.disks.lock().unwrap().retain(|disk| disk != hostname);
            Ok(())
        })
    }

    fn freeze(&self, _: &str, _: bool) -> Result<()> {
        Ok(())
    }

    fn enter(&self, _: &str, entry: &Entry) -> Result<Command> {
        // Like nsenter's: the process that is spawned waits for the command, and is not the command.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", r#""$0" "$@"; exit $?"#])
            .args(&entry.argv);
        if let Some(cwd) = &entry.cwd {
            command.current_dir(cwd);
        }
        for (key, value) in entry.env.iter().filter_map(|pair| pair.split_once('=')) {
            command.env(key, value);
        }
        Ok(command)
    }

    fn health(&self, hostname: &str) -> Option<Health> {
        if self.mute.load(std::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        let running = self.running.lock().unwrap();
        running.get(hostname).map(|guest| Health {
            agent_uptime: 1,
            system_uptime: 2,
            userdata_ran: true,
            userdata_exit_code: guest.userdata.then_some(0),
        })
    }
}
