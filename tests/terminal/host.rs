//! A host: an SSH server in this process that runs nothing, answers commands by what is in them, and has a sudo that may
//! require a password.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Where all hosts run.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A fresh key.
pub(crate) fn key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

/// What a host is like.
#[derive(Clone)]
pub(crate) struct Habits {
    /// The key that it lets in.
    pub(crate) lets_in: PublicKey,
    /// The password that sudo requires; none: it requires none.
    pub(crate) sudo: Option<&'static str>,
    /// How long sudo takes to check one.
    pub(crate) checks_for: Duration,
    /// How long a login may take.
    pub(crate) grace: Duration,
    /// What commands that contain a text print; the first entry counts, and what has none ends with status 1.
    pub(crate) says: Vec<(&'static str, String)>,
    /// The first command that contains this ends the connection.
    pub(crate) vanishes_at: Option<&'static str>,
}

impl Habits {
    /// A host that lets this key in, has a sudo without a password, and knows nothing.
    pub(crate) fn new(lets_in: &PublicKey) -> Self {
        Self {
            lets_in: lets_in.clone(),
            sudo: None,
            checks_for: Duration::ZERO,
            grace: Duration::from_mins(2),
            says: Vec::new(),
            vanishes_at: None,
        }
    }
}

/// A running host.
pub(crate) struct Host {
    pub(crate) port: u16,
    pub(crate) key: PrivateKey,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    told: Mutex<Vec<String>>,
    connections: AtomicUsize,
    vanished: AtomicUsize,
}

impl Host {
    /// Starts it; it runs until the tests end.
    pub(crate) fn start(habits: Habits) -> Self {
        let key = key();
        let config = Arc::new(Config {
            keys: vec![key.clone()],
            auth_rejection_time: Duration::ZERO,
            ..Config::default()
        });
        let seen = Arc::new(Seen::default());
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let noted = Arc::clone(&seen);
        RUNTIME.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::Relaxed);
                let in_time = Arc::new(AtomicUsize::new(0));
                let server = Server {
                    habits: habits.clone(),
                    seen: Arc::clone(&noted),
                    running: HashMap::new(),
                    let_in: Arc::clone(&in_time),
                };
                let (config, grace) = (Arc::clone(&config), habits.grace);
                tokio::spawn(async move {
                    let Ok(session) = russh::server::run_stream(config, stream, server).await
                    else {
                        return;
                    };
                    let handle = session.handle();
                    tokio::spawn(async move {
                        tokio::time::sleep(grace).await;
                        if in_time.load(Ordering::Relaxed) == 0 {
                            let why = russh::Disconnect::ByApplication;
                            let text = "login took too long".to_owned();
                            let _ = handle.disconnect(why, text, String::new()).await;
                        }
                    });
                    let _ = session.await;
                });
            }
        });
        Self { port, key, seen }
    }

    /// How many commands contained this.
    pub(crate) fn told(&self, part: &str) -> usize {
        let told = self.seen.told.lock().unwrap();
        told.iter().filter(|command| command.contains(part)).count()
    }

    /// Waits until so many commands contained this.
    pub(crate) fn is_told(&self, part: &str, count: usize) {
        for _ in 0..3000 {
            if self.told(part) >= count {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it was not told {part}");
    }

    /// How often it was connected to.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }
}

struct Server {
    habits: Habits,
    seen: Arc<Seen>,
    running: HashMap<ChannelId, (String, Vec<u8>)>,
    let_in: Arc<AtomicUsize>,
}

/// How a command ended.
struct End {
    after: Duration,
    status: u32,
    stdout: String,
    stderr: &'static str,
}

impl Server {
    fn end(&self, command: &str, stdin: &[u8]) -> End {
        let end = |status, stdout: &str, stderr| End {
            after: Duration::ZERO,
            status,
            stdout: stdout.to_owned(),
            stderr,
        };
        if command.contains("sudo -k -n --") {
            return match self.habits.sudo {
                Some(_) => end(0, "asks\n", "sudo: a password is required\n"),
                None => end(0, "free\n", ""),
            };
        }
        if command.contains("sudo -S")
            && let Some(password) = self.habits.sudo
            && stdin.split(|byte| *byte == b'\n').next() != Some(password.as_bytes())
        {
            return End {
                after: self.habits.checks_for,
                ..end(
                    1,
                    "",
                    "Sorry, try again.\nsudo: 1 incorrect password attempt\n",
                )
            };
        }
        if command.contains("&& echo root") {
            return End {
                after: self.habits.checks_for,
                ..end(0, "root\n", "")
            };
        }
        if command.contains("then echo yes; else case $w") {
            // No path exists.
            return end(0, "no\n", "");
        }
        let mut says = self.habits.says.iter();
        match says.find(|(part, _)| command.contains(part)) {
            Some((_, stdout)) => end(0, stdout, ""),
            // As a script says that finds nothing.
            None => end(1, "", "slicer-k3s: there is none\n"),
        }
    }
}

/// What a login shell hands on to `/bin/sh` (`src/remote/ssh/login_shell.rs`): one of them says it instead of running it.
fn unwrapped(line: &str) -> String {
    let line = line.replacen("eval \"$*\"", "printf %s \"$*\"", 1);
    let said = Command::new("/bin/sh")
        .args(["-c", &line])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let (_, command) = said.split_once('\n').unwrap();
    command.to_owned()
}

/// The cluster's lock is held by a shell that answers each line.
fn is_lock(command: &str) -> bool {
    command.contains("flock -w 1 9")
}

async fn finish(handle: Handle, channel: ChannelId, end: End) {
    tokio::time::sleep(end.after).await;
    let _ = handle.data(channel, end.stdout.into_bytes()).await;
    let _ = handle
        .extended_data(channel, 1, end.stderr.as_bytes().to_vec())
        .await;
    let _ = handle.exit_status_request(channel, end.status).await;
    let _ = handle.eof(channel).await;
    let _ = handle.close(channel).await;
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if key.public_key.key_data() != self.habits.lets_in.key_data() {
            return Ok(Auth::reject());
        }
        self.let_in.store(1, Ordering::Relaxed);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.reject(ChannelOpenFailure::ConnectFailed).await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = unwrapped(&String::from_utf8_lossy(command));
        self.seen.told.lock().unwrap().push(command.clone());
        if let Some(part) = self.habits.vanishes_at
            && command.contains(part)
            && self.seen.vanished.fetch_add(1, Ordering::Relaxed) == 0
        {
            return Err(russh::Error::Disconnect);
        }
        session.channel_success(channel)?;
        if is_lock(&command) {
            session.data(channel, b"ours \nnone\n".to_vec())?;
        }
        self.running.insert(channel, (command, Vec::new()));
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some((command, stdin)) = self.running.get_mut(&channel) else {
            return Ok(());
        };
        if is_lock(command) {
            let answer = if data == b"\n" { "\n" } else { "noted\n" };
            return session.data(channel, answer.as_bytes().to_vec());
        }
        stdin.extend_from_slice(data);
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some((command, stdin)) = self.running.remove(&channel) {
            let end = self.end(&command, &stdin);
            tokio::spawn(finish(session.handle(), channel, end));
        }
        Ok(())
    }
}
