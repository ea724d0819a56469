//! Logging in: the agent's keys, then key files, each with its certificate where there is one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::Signer;
use russh::client::AuthResult;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Algorithm, Certificate, Error as KeyError, HashAlg, PrivateKey, PrivateKeyWithHashAlg,
    PublicKey,
};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::client::{Client, key_type, words};
use super::known_hosts::fingerprint;
use super::user_config::Hop;
use crate::failure::{Code, Failure, Result};
use crate::question::Ask;
use crate::secret::Secret;

/// One login in progress: what was tried, for the message where nothing helped.
struct Login<'a> {
    client: &'a mut Client,
    user: &'a str,
    tried: Vec<String>,
    methods: String,
    partial: bool,
}

/// Logs in to `hop`, which messages call `name`.
pub(super) async fn with_user_keys(
    client: &mut Client,
    name: &str,
    hop: &Hop,
    ask: &dyn Ask,
) -> Result<()> {
    let mut login = Login {
        client,
        user: &hop.user,
        tried: Vec::new(),
        methods: String::new(),
        partial: false,
    };
    let mut agent = match &hop.agent {
        Some(socket) => agent(socket).await,
        None => None,
    };
    let held = match &mut agent {
        Some(agent) => held(agent).await,
        None => Vec::new(),
    };
    let (mut first, mut later): (Vec<_>, Vec<_>) = held.into_iter().partition(|identity| {
        hop.identities.iter().any(|file| {
            public_part(file).is_some_and(|key| key.key_data() == identity.public_key().key_data())
        })
    });
    if hop.identities_only {
        later.clear();
    }
    // A key that cluster.toml names goes before an agent full of others: servers count attempts.
    let named: Vec<PathBuf> = hop.key_file.iter().cloned().collect();
    let rest: Vec<PathBuf> = hop
        .identities
        .iter()
        .filter(|file| !named.contains(file))
        .cloned()
        .collect();
    for (identities, files) in [(&mut first, named), (&mut later, rest)] {
        if let Some(agent) = &mut agent {
            for identity in identities.drain(..) {
                if login.with_agent(agent, &identity).await? {
                    return Ok(());
                }
            }
        }
        for file in files {
            if login.with_file(&file, &hop.certificates, ask, name).await? {
                return Ok(());
            }
        }
    }
    Err(login.refused(name, hop))
}

/// Logs in with one private key and nothing else; whether it was accepted.
pub(super) async fn with_key(
    client: &mut Client,
    user: &str,
    key: PrivateKey,
) -> Result<bool, russh::Error> {
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    Ok(client.authenticate_publickey(user, key).await?.success())
}

impl Login<'_> {
    async fn with_agent(
        &mut self,
        agent: &mut AgentClient<UnixStream>,
        identity: &AgentIdentity,
    ) -> Result<bool> {
        let key = identity.public_key().into_owned();
        let hash = self.hash(&key.algorithm()).await;
        let result = match identity {
            AgentIdentity::PublicKey { .. } => {
                self.client
                    .authenticate_publickey_with(self.user, key.clone(), hash, agent)
                    .await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                self.client
                    .authenticate_certificate_with(self.user, certificate.clone(), hash, agent)
                    .await
            }
        };
        let what = format!("{} from the agent", described(&key));
        match result {
            Ok(result) => Ok(self.note(what, &result)),
            // The agent may decline (a key that asks for confirmation, a token that is not plugged in): the next.
            Err(error) => {
                self.tried.push(format!("{what} ({error})"));
                Ok(false)
            }
        }
    }

    async fn with_file(
        &mut self,
        file: &Path,
        certificates: &[PathBuf],
        ask: &dyn Ask,
        name: &str,
    ) -> Result<bool> {
        let text = match fs_err::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    self.tried.push(error.to_string());
                }
                return Ok(false);
            }
        };
        let key = match russh::keys::decode_secret_key(&text, None) {
            Ok(key) => key,
            Err(KeyError::KeyIsEncrypted) => {
                // Nobody is asked for the passphrase of a key that the server does not want anyway.
                if let Some(public) = public_part(file)
                    && !self.wanted(&public).await
                {
                    self.tried
                        .push(format!("{} ({})", described(&public), file.display()));
                    return Ok(false);
                }
                unlock(&text, file, ask, name).await?
            }
            Err(error) => {
                self.tried.push(format!("{}: {error}", file.display()));
                return Ok(false);
            }
        };
        let what = format!("{} ({})", described(key.public_key()), file.display());
        let key = Arc::new(key);
        for certificate in matching(file, certificates, key.public_key()) {
            let result = self
                .client
                .authenticate_openssh_cert(self.user, Arc::clone(&key), certificate)
                .await;
            match result {
                Ok(result) if self.note(format!("certificate of {what}"), &result) => {
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) => return Err(lost(name, &error)),
            }
        }
        let hash = self.hash(&key.algorithm()).await;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        match self.client.authenticate_publickey(self.user, key).await {
            Ok(result) => Ok(self.note(what, &result)),
            Err(error) => Err(lost(name, &error)),
        }
    }

    /// Whether the server would take this key; asked without a signature.
    async fn wanted(&mut self, key: &PublicKey) -> bool {
        let hash = self.hash(&key.algorithm()).await;
        let mut probe = Probe { reached: false };
        let _ = self
            .client
            .authenticate_publickey_with(self.user, key.clone(), hash, &mut probe)
            .await;
        probe.reached
    }

    /// The hash for an RSA key's signature.
    async fn hash(&self, kind: &Algorithm) -> Option<HashAlg> {
        if !matches!(kind, Algorithm::Rsa { .. }) {
            return None;
        }
        let best = self.client.best_supported_rsa_hash().await;
        best.ok().flatten().unwrap_or(Some(HashAlg::Sha256))
    }

    fn note(&mut self, what: String, result: &AuthResult) -> bool {
        let AuthResult::Failure {
            remaining_methods,
            partial_success,
        } = result
        else {
            return true;
        };
        self.tried.push(what);
        self.partial |= partial_success;
        if !remaining_methods.is_empty() {
            let names = remaining_methods.iter().map(<&str>::from);
            self.methods = names.collect::<Vec<_>>().join(", ");
        }
        false
    }

    fn refused(&self, name: &str, hop: &Hop) -> Failure {
        let mut cause = match self.tried.as_slice() {
            [] => "there is no key: no agent, no key file".to_owned(),
            tried => format!("tried {}", tried.join(", ")),
        };
        if self.client.is_closed() {
            cause.push_str("; it then hung up, as servers do after too many attempts");
        } else if self.partial {
            cause.push_str(
                "; a key was right, but the server wants a second proof, which is not supported",
            );
        } else if !self.methods.is_empty() {
            let _ = write!(cause, "; it accepts {}", self.methods);
        }
        let destination = format!("{}@{}", hop.user, hop.host);
        Failure::new(Code::SshAuth, format!("{name} refuses to let us in as {destination}"))
            .because(cause)
            .hint(format!(
                "ssh-copy-id -p {} {destination}; or name the right key with key-file under [hosts.{name}]",
                hop.port
            ))
    }
}

fn lost(name: &str, error: &russh::Error) -> Failure {
    Failure::new(Code::SshLost, format!("{name} hung up while we logged in")).because(words(error))
}

/// A signer that only notices that a signature is wanted.
struct Probe {
    reached: bool,
}

impl Signer for Probe {
    type Error = russh::SendError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        _: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        self.reached = true;
        Err(russh::SendError {})
    }
}

/// An agent that does not answer must not hold us up: a forwarded one may be dead.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

async fn agent(socket: &Path) -> Option<AgentClient<UnixStream>> {
    let connection = tokio::time::timeout(AGENT_TIMEOUT, AgentClient::connect_uds(socket));
    connection.await.ok()?.ok()
}

async fn held(agent: &mut AgentClient<UnixStream>) -> Vec<AgentIdentity> {
    let held = tokio::time::timeout(AGENT_TIMEOUT, agent.request_identities());
    held.await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Passphrases that were typed in this run, by key file: a connection that is made again asks for none, and keys of several
/// hosts are unlocked one after the other.
static PASSPHRASES: Mutex<Vec<(PathBuf, Secret)>> = Mutex::const_new(Vec::new());

async fn unlock(text: &str, file: &Path, ask: &dyn Ask, name: &str) -> Result<PrivateKey> {
    let mut known = PASSPHRASES.lock().await;
    let open =
        |passphrase: &Secret| russh::keys::decode_secret_key(text, Some(passphrase.expose())).ok();
    let mut typed = known.iter().filter(|(of, _)| of == file);
    if let Some(key) = typed.find_map(|(_, passphrase)| open(passphrase)) {
        return Ok(key);
    }
    let shown = file.display();
    let question = format!("Passphrase of {shown} (for {name})");
    let failure = Failure::new(
        Code::SshAuth,
        format!("{shown} is locked with a passphrase"),
    )
    .hint(format!("ssh-add {shown}, then run this again"));
    for _ in 0..3 {
        let Some(passphrase) = ask.secret(&question).await? else {
            return Err(failure.because("nobody is at a terminal to type it"));
        };
        if let Some(key) = open(&passphrase.secret) {
            known.push((file.to_owned(), passphrase.secret.clone()));
            return Ok(key);
        }
        ask.say(&format!("Sorry, try again: that does not open {shown}."));
    }
    Err(failure.because("the passphrase was wrong three times"))
}

/// The public half of a key file, without its passphrase.
fn public_part(file: &Path) -> Option<PublicKey> {
    let public = beside(file, ".pub");
    if let Ok(text) = fs_err::read_to_string(public) {
        return PublicKey::from_openssh(text.trim()).ok();
    }
    let text = fs_err::read_to_string(file).ok()?;
    PrivateKey::from_openssh(text)
        .ok()
        .map(|key| key.public_key().clone())
}

/// The certificates that belong to a key.
fn matching(file: &Path, more: &[PathBuf], key: &PublicKey) -> Vec<Certificate> {
    std::iter::once(beside(file, "-cert.pub"))
        .chain(more.iter().cloned())
        .filter_map(|file| fs_err::read_to_string(file).ok())
        .filter_map(|text| Certificate::from_openssh(text.trim()).ok())
        .filter(|certificate| certificate.public_key() == key.key_data())
        .collect()
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn described(key: &PublicKey) -> String {
    let print = key
        .to_bytes()
        .map(|blob| fingerprint(&blob))
        .unwrap_or_default();
    format!("{} {print}", key_type(&key.algorithm()))
}
