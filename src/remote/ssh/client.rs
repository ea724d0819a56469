//! Our side of the SSH protocol: what we offer, how we judge the server's key, how russh's errors read.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{Config, DisconnectReason, Handle, Handler};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::failure::{Code, Failure};

/// A connection, logged in or not.
pub(super) type Client = Handle<Checker>;

/// Why a server's key was not accepted.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody has vouched for it yet.
    Unknown(PublicKey),
    /// Not the pinned one; the server may have another that is.
    NotPinned(PublicKey),
    /// Changed or revoked.
    Wrong(Failure),
}

/// Judges a server's key.
pub(super) type Judge = Arc<dyn Fn(&PublicKey) -> Result<(), Box<Refusal>> + Send + Sync>;

/// Why a connection failed or ended.
#[derive(Debug)]
pub(super) enum Broken {
    /// We refused the server.
    Refused(Box<Refusal>),
    /// The protocol or the network.
    Ssh(russh::Error),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// Why the connection ended, in words, once it has.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Mutex<Option<String>>>);

impl Ending {
    fn set(&self, why: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
            .unwrap_or_else(|| "the connection was closed".to_owned())
    }
}

/// russh's handler: judges the server's key and remembers why the connection ended.
pub(super) struct Checker {
    judge: Judge,
    ending: Ending,
}

impl Handler for Checker {
    type Error = Broken;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                (self.judge)(key).map(|()| true).map_err(Broken::Refused)
            }
            // We never offer certificate algorithms, so a server that sends one breaks the protocol.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Broken>) -> Result<(), Broken> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.ending.set(format!("it said: {}", info.message));
                Ok(())
            }
            DisconnectReason::Error(error) => {
                if let Broken::Ssh(error) = &error {
                    self.ending.set(words(error));
                }
                Err(error)
            }
        }
    }
}

/// The SSH handshake over a stream; host keys of these kinds are asked for, in this order.
pub(super) async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    kinds: Vec<Algorithm>,
    judge: Judge,
) -> Result<(Client, Ending), Broken> {
    let mut config = Config {
        // A host that reboots in silence is noticed within 20 s.
        keepalive_interval: Some(Duration::from_secs(5)),
        keepalive_max: 3,
        nodelay: true,
        // A full buffer of one channel stalls them all; the entries are pointers.
        channel_buffer_size: 1024,
        ..Config::default()
    };
    config.preferred.key = Cow::Owned(kinds);
    let ending = Ending::default();
    let checker = Checker {
        judge,
        ending: ending.clone(),
    };
    let client = russh::client::connect_stream(Arc::new(config), stream, checker).await?;
    Ok((client, ending))
}

/// The kinds of host keys we understand, most wanted first.
pub(super) fn all_kinds() -> Vec<Algorithm> {
    vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        },
        // SHA-1 signatures (`ssh-rsa`) are left out, as OpenSSH does since 8.8.
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        },
    ]
}

/// The key type's name in known_hosts (`ssh-rsa` whatever the signature's hash).
pub(super) fn key_type(kind: &Algorithm) -> &str {
    match kind {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

/// russh's error in words for people.
pub(super) fn words(error: &russh::Error) -> String {
    match error {
        russh::Error::IO(error) => error.to_string(),
        russh::Error::HUP | russh::Error::Disconnect => "the other side hung up".to_owned(),
        russh::Error::KeepaliveTimeout => "it has fallen silent".to_owned(),
        russh::Error::SendError | russh::Error::RecvError => "the connection is gone".to_owned(),
        russh::Error::Version => "what answers there does not speak SSH".to_owned(),
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!(
                "no common {kind:?} algorithm; it offers {}",
                theirs.join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// A failed handshake as a failure; `what` names machine and address.
pub(super) fn unreachable(what: String, error: &russh::Error) -> Failure {
    let failure = Failure::new(Code::SshUnreachable, what).because(words(error));
    match error {
        russh::Error::NoCommonAlgo { .. } => failure
            .hint("its SSH server is too old or too strict for this program: enable a modern algorithm there")
            .permanent(),
        russh::Error::Version => {
            failure.hint("check address and port in cluster.toml").permanent()
        }
        _ => failure,
    }
}
