//! A machine over SSH: one connection, kept and made again when it was lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use russh::Channel;
use russh::client::Msg;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::connection::{Connection, Dial, TIMEOUT};
use super::login_shell::wrapped;
use super::tunnel::tunnel;
use super::{attach, exec};
use crate::event::Asked;
use crate::failure::{Code, Failure, Result};
use crate::log;
use crate::remote::{Input, Output, Remote, Stream};
use crate::shared::Failed;

/// Commands at once on one connection: OpenSSH allows 10 (`MaxSessions`), and other programs of the user may share it.
/// Tunnels do not count there.
const WIDTH: usize = 8;

/// The connection that is in use, and how the last attempt to make one failed.
#[derive(Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    failed: Failed,
}

/// The machine at the other end of an SSH connection.
pub(super) struct SshRemote {
    name: String,
    dialer: Box<dyn Dial>,
    current: Mutex<Current>,
    width: Semaphore,
}

impl SshRemote {
    /// Dials once, so that what is wrong is known now.
    pub(super) async fn connect(name: &str, dialer: Box<dyn Dial>) -> Result<Self> {
        let connection = Arc::new(dial(name, dialer.as_ref()).await?);
        Ok(Self {
            name: name.to_owned(),
            dialer,
            current: Mutex::new(Current {
                connection: Some(connection),
                failed: Failed::default(),
            }),
            width: Semaphore::new(WIDTH),
        })
    }

    /// The connection, made anew where it is known to be lost or is `lost`. Those who waited while an attempt failed share
    /// its failure.
    async fn connection(&self, lost: Option<&Arc<Connection>>) -> Result<Arc<Connection>> {
        let asked = tokio::time::Instant::now();
        let mut current = self.current.lock().await;
        if let Some(connection) = current.connection.as_ref()
            && !connection.client.is_closed()
            && !lost.is_some_and(|lost| Arc::ptr_eq(lost, connection))
        {
            return Ok(Arc::clone(connection));
        }
        if let Some(failure) = current.failed.since(asked) {
            return Err(failure);
        }
        current.connection = None;
        let dialled = dial(&self.name, self.dialer.as_ref()).await;
        current.failed.keep(&dialled);
        let connection = Arc::new(dialled?);
        current.connection = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// A channel for one command; a connection that turns out to be dead is replaced once.
    async fn channel(&self) -> Result<(Arc<Connection>, Channel<Msg>)> {
        let mut lost = None;
        loop {
            let connection = self.connection(lost.as_ref()).await?;
            let opened =
                tokio::time::timeout(TIMEOUT, connection.client.channel_open_session()).await;
            match opened {
                Ok(Ok(channel)) => return Ok((connection, channel)),
                // A refusal too: commands given up at their limit may still hold all its sessions, until they end.
                Ok(Err(_)) | Err(_) if lost.is_none() => lost = Some(connection),
                Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                    return Err(Failure::new(
                        Code::SshLost,
                        format!("{} opens no more sessions", self.name),
                    )
                    .because(format!("its SSH server says {why:?}"))
                    .hint("MaxSessions in its sshd_config must be at least 10"));
                }
                Ok(Err(_)) => return Err(self.lost(&connection, "before a command")),
                Err(_) => {
                    return Err(Failure::new(
                        Code::SshLost,
                        format!("{} does not react", self.name),
                    )
                    .because(format!(
                        "it opens no session within {} s",
                        TIMEOUT.as_secs()
                    )));
                }
            }
        }
    }

    async fn place(&self, limit: Duration) -> Result<SemaphorePermit<'_>> {
        match tokio::time::timeout(limit, self.width.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(
                Failure::new(Code::Command, format!("{} is busy", self.name))
                    .because(format!(
                        "{WIDTH} commands already run there, and none ended within {} s",
                        limit.as_secs()
                    ))
                    .hint("slicer-k3s status tells whether it is up; run again"),
            ),
        }
    }

    fn lost(&self, connection: &Connection, when: &str) -> Failure {
        Failure::new(
            Code::SshLost,
            format!("the connection to {} was lost {when}", self.name),
        )
        .because(connection.ending.words())
    }
}

#[async_trait]
impl Remote for SshRemote {
    async fn exec(&self, command: &str, stdin: &[u8], limit: Duration) -> Result<Output> {
        let _place = self.place(limit).await?;
        let (connection, channel) = self.channel().await?;
        match tokio::time::timeout(limit, exec::run(channel, &wrapped(command), stdin)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(exec::Broken::Lost)) => Err(self.lost(&connection, "in mid-command")),
            Ok(Err(exec::Broken::Refused)) => Err(refuses_commands(&self.name)),
            Err(_) => Err(Failure::new(
                Code::Command,
                format!("a command on {} took too long", self.name),
            )
            .because(format!(
                "no end after {} s; it may still run there",
                limit.as_secs()
            ))),
        }
    }

    async fn attach(&self, command: &str, input: Input, tty: bool) -> Result<i32> {
        let _place = self.place(TIMEOUT).await?;
        let (connection, channel) = self.channel().await?;
        match attach::run(channel, &wrapped(command), input, tty).await {
            Ok(status) => Ok(status),
            Err(exec::Broken::Lost) => Err(self.lost(&connection, "in mid-command")),
            Err(exec::Broken::Refused) => Err(refuses_commands(&self.name)),
        }
    }

    /// Outside the width: it lives as long as the run, and OpenSSH allows a few sessions more.
    async fn open(&self, command: &str, first: &[u8]) -> Result<Box<dyn Stream>> {
        let (connection, channel) = self.channel().await?;
        let lost = || self.lost(&connection, "before a command");
        let started = channel.exec(true, wrapped(command)).await;
        started.map_err(|_| lost())?;
        let mut stream = channel.into_stream();
        stream.write_all(first).await.map_err(|_| lost())?;
        Ok(Box::new(stream))
    }

    async fn forward(&self, host: &str, port: u16) -> Result<Box<dyn Stream>> {
        let connection = self.connection(None).await?;
        match tunnel(&connection.client, &self.name, host, port).await {
            Err(failure) if failure.code == Code::SshLost => {
                let connection = self.connection(Some(&connection)).await?;
                tunnel(&connection.client, &self.name, host, port).await
            }
            result => result,
        }
    }

    fn is_far(&self) -> bool {
        true
    }
}

/// One connection, kept in the log.
async fn dial(name: &str, dialer: &dyn Dial) -> Result<Connection> {
    let begin = Instant::now();
    let made = dialer.dial().await;
    let end = made.as_ref().map(|_| 0).map_err(Clone::clone);
    log::asked(name, Asked::Connect, "ssh", begin.elapsed(), &end);
    made
}

fn refuses_commands(name: &str) -> Failure {
    Failure::new(Code::SshAuth, format!("{name} lets us in but runs no commands"))
        .because("its SSH server refused the request")
        .hint("ForceCommand, a `command=` in authorized_keys, or a login shell like nologin stands in the way")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A host that went off in mid-run.
    #[derive(Default)]
    struct Silent(Arc<AtomicUsize>);

    #[async_trait]
    impl Dial for Silent {
        async fn dial(&self) -> Result<Connection> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(TIMEOUT).await;
            Err(Failure::new(Code::SshUnreachable, "no answer"))
        }
    }

    /// Ten steps of one host took 150 s to learn that it was gone: each dialled after the one before.
    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_a_dead_host_share_one_attempt() {
        let dialled = Arc::new(AtomicUsize::new(0));
        let remote = SshRemote {
            name: "gone".into(),
            dialer: Box::new(Silent(Arc::clone(&dialled))),
            current: Mutex::default(),
            width: Semaphore::new(WIDTH),
        };
        let begin = tokio::time::Instant::now();
        let asked = (0..10).map(|_| remote.connection(None));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(
            (dialled.load(Ordering::Relaxed), begin.elapsed()),
            (1, TIMEOUT)
        );
        // Not for good: it may be back.
        assert!(remote.connection(None).await.is_err());
        assert_eq!(dialled.load(Ordering::Relaxed), 2);
    }
}
