//! An SSH server in process, for tests of what no real one does on demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Sig};
use tokio::net::TcpListener;

use super::login_shell::unwrapped;

/// A fresh Ed25519 key.
pub(super) fn key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

/// A key as OpenSSH writes it.
pub(super) fn pem(key: &PrivateKey) -> String {
    key.to_openssh(russh::keys::ssh_key::LineEnding::default())
        .unwrap()
        .to_string()
}

/// What the server does beyond the usual.
#[derive(Clone)]
pub(super) struct Habits {
    /// The keys it shows.
    pub(super) host_keys: Vec<PrivateKey>,
    /// The key it lets in.
    pub(super) lets_in: PublicKey,
    /// Asks for a second proof after the key.
    pub(super) wants_more: bool,
}

/// Starts a server; its port. It ends with the test's runtime.
///
/// Commands: `count` prints how many bytes of stdin it read, `kill` ends by SIGTERM, `vanish` ends the connection, `stall` ends and
/// does not say that its output has.
pub(super) async fn start(habits: Habits) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(Config {
        keys: habits.host_keys.clone(),
        auth_rejection_time: Duration::ZERO,
        ..Config::default()
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = Server {
                habits: habits.clone(),
                running: HashMap::new(),
            };
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(config, stream, server).await {
                    let _ = session.await;
                }
            });
        }
    });
    port
}

struct Server {
    habits: Habits,
    running: HashMap<ChannelId, (String, usize)>,
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
        if self.habits.wants_more {
            return Ok(Auth::Reject {
                proceed_with_methods: Some(MethodSet::from([MethodKind::Password].as_slice())),
                partial_success: true,
            });
        }
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

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let command = unwrapped(&String::from_utf8_lossy(command));
        if command == "vanish" {
            return Err(russh::Error::Disconnect);
        }
        session.channel_success(channel)?;
        self.running.insert(channel, (command, 0));
        Ok(())
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some((_, count)) = self.running.get_mut(&channel) {
            *count += data.len();
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some((command, count)) = self.running.remove(&channel) else {
            return Ok(());
        };
        if command == "kill" {
            session.exit_signal_request(channel, Sig::TERM, false, "", "")?;
        } else {
            session.data(channel, count.to_string().into_bytes())?;
            session.extended_data(channel, 1, b"\xff\xfe broken text".to_vec())?;
            session.exit_status_request(channel, 3)?;
            if command == "stall" {
                return Ok(());
            }
        }
        session.eof(channel)?;
        session.close(channel)
    }
}
