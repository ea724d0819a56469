//! Whether the machine at the other end is the one we mean.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use russh::keys::{Algorithm, PublicKey};

use super::HOST_KEY_PATH;
use super::client::{Judge, Refusal, all_kinds, key_type};
use super::host_names;
use super::known_hosts::{self, KnownHosts, Verdict};
use super::target::{KeyPolicy, Surroundings};
use crate::failure::{Code, Failure, Result};

/// What we know of one machine's host key, and how an unknown one may become known.
pub(super) struct Trust {
    /// The machine's name in messages.
    name: String,
    /// The hosts.NAME whose `host-key` may pin it; not so for a jump host.
    pinnable: bool,
    names: Vec<String>,
    known: KnownHosts,
    /// Where a new key is written.
    file: Option<PathBuf>,
    /// Whether it names hosts by hashes only.
    hashes: bool,
    pin: Option<String>,
    /// The key that was accepted once: a reconnection must meet the same.
    accepted: Arc<Mutex<Option<PublicKey>>>,
}

/// What `Trust` is made from.
pub(super) struct Identity<'a> {
    /// The machine's name in messages.
    pub(super) name: &'a str,
    /// Its name on the network.
    pub(super) host: &'a str,
    /// Its port.
    pub(super) port: u16,
    /// `HostKeyAlias`.
    pub(super) alias: Option<&'a str>,
    /// The user's files, the first of which learns new keys.
    pub(super) user_files: &'a [PathBuf],
    /// The system's files.
    pub(super) global_files: &'a [PathBuf],
    /// `HashKnownHosts`.
    pub(super) hashes: bool,
    /// Whether cluster.toml may pin its key.
    pub(super) pinnable: bool,
    /// The pin.
    pub(super) pin: Option<&'a str>,
}

impl Trust {
    /// Reads the known_hosts files.
    pub(super) fn of(identity: &Identity<'_>) -> Result<Self> {
        let files: Vec<PathBuf> = identity
            .user_files
            .iter()
            .chain(identity.global_files)
            .cloned()
            .collect();
        Ok(Self {
            name: identity.name.to_owned(),
            pinnable: identity.pinnable,
            names: host_names::names(identity.host, identity.port, identity.alias),
            known: KnownHosts::read(&files)?,
            file: identity.user_files.first().cloned(),
            hashes: identity.hashes,
            pin: identity.pin.map(str::to_owned),
            accepted: Arc::default(),
        })
    }

    /// The kinds of host keys to ask for, in groups to be tried one after the other: those that are known first, or a
    /// server could slip in a key of another kind beside the known one.
    pub(super) fn kinds(&self) -> Vec<Vec<Algorithm>> {
        let all = all_kinds();
        if self.pin.is_some() && self.accepted().is_none() {
            // A fingerprint does not tell its key's kind, and a server shows one key a connection.
            let family = |name: &'static str| {
                all.iter()
                    .filter(|kind| key_type(kind).starts_with(name))
                    .cloned()
                    .collect()
            };
            return vec![family("ssh-ed25519"), family("ecdsa"), family("ssh-rsa")];
        }
        let accepted = self
            .accepted()
            .map(|key| key_type(&key.algorithm()).to_owned());
        let mut wanted = self.known.kinds(&self.names);
        wanted.extend(accepted.as_deref());
        let (first, rest): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|kind| wanted.contains(&key_type(kind)));
        vec![first.into_iter().chain(rest).collect()]
    }

    /// The judge of the keys that this machine may show.
    pub(super) fn judge(self: &Arc<Self>) -> Judge {
        let trust = Arc::clone(self);
        Arc::new(move |key| trust.verdict(key))
    }

    fn verdict(&self, key: &PublicKey) -> Result<(), Box<Refusal>> {
        let Ok(blob) = key.to_bytes() else {
            return Err(Box::new(Refusal::Unknown(key.clone())));
        };
        let shown = format!(
            "{} {}",
            key_type(&key.algorithm()),
            known_hosts::fingerprint(&blob)
        );
        let verdict = self.known.verdict(&self.names, &blob);
        if let Verdict::Revoked(line) = &verdict {
            return Err(Box::new(Refusal::Wrong(
                Failure::new(
                    Code::HostKeyChanged,
                    format!("{} shows a revoked host key", self.name),
                )
                .because(format!("{shown} is revoked in {}", line.place))
                .hint("give the machine a new host key (ssh-keygen -A), then remove that line"),
            )));
        }
        if let Some(accepted) = self.accepted() {
            if accepted.key_data() == key.key_data() {
                return Ok(());
            }
            return Err(Box::new(Refusal::Wrong(
                Failure::new(
                    Code::HostKeyChanged,
                    format!("{}'s host key changed while we were connected", self.name),
                )
                .because(format!("it now shows {shown}"))
                .hint("find out why before running this again"),
            )));
        }
        if let Some(pin) = &self.pin {
            if *pin != known_hosts::fingerprint(&blob) {
                return Err(Box::new(Refusal::NotPinned(key.clone())));
            }
            self.accept(key.clone());
            return Ok(());
        }
        match verdict {
            Verdict::Known => {
                self.accept(key.clone());
                Ok(())
            }
            Verdict::Changed(line) => Err(Box::new(Refusal::Wrong(
                Failure::new(
                    Code::HostKeyChanged,
                    format!("{} is not the machine known_hosts knows", self.name),
                )
                .because(format!(
                    "it shows {shown}, but {} says {} {}",
                    line.place, line.kind, line.fingerprint
                ))
                .hint(format!(
                    "somebody may be in between; if the machine was installed anew: ssh-keygen -R '{}'",
                    self.names[0]
                )),
            ))),
            Verdict::Unknown { .. } | Verdict::Revoked(_) => Err(Box::new(Refusal::Unknown(key.clone()))),
        }
    }

    /// A key that nobody vouched for: asks, or follows the policy, and remembers a yes.
    pub(super) async fn vouch(
        &self,
        key: &PublicKey,
        policy: KeyPolicy,
        surroundings: &Surroundings,
    ) -> Result<()> {
        let blob = key
            .to_bytes()
            .map_err(|error| self.unknown("").because(error))?;
        let (kind, print) = (
            key_type(&key.algorithm()).to_owned(),
            known_hosts::fingerprint(&blob),
        );
        if !policy.accept_new {
            let question = format!(
                "{} ({}) shows a host key that is not known yet:\n  {kind} {print}\nIs it this machine's?",
                self.name, self.names[0]
            );
            match surroundings.ask.confirm(&question).await? {
                Some(true) => {}
                Some(false) => {
                    return Err(Failure::new(
                        Code::Declined,
                        format!("{}'s host key was not accepted", self.name),
                    )
                    .because(format!("{kind} {print}")));
                }
                None => {
                    return Err(self
                        .unknown(&print)
                        .because(format!("it shows {kind} {print}")));
                }
            }
        }
        self.learn(key)?;
        self.accept(key.clone());
        Ok(())
    }

    fn unknown(&self, print: &str) -> Failure {
        let hint = if self.pinnable {
            format!(
                "compare with `ssh-keygen -lf {HOST_KEY_PATH}` there; if it is right, add under \
                 [hosts.{}]: host-key = \"{print}\" — or --accept-new-host-keys",
                self.name
            )
        } else {
            format!(
                "connect to it once with ssh, or --accept-new-host-keys ({})",
                self.names[0]
            )
        };
        Failure::new(
            Code::HostKeyUnknown,
            format!("{}'s host key is not known", self.name),
        )
        .hint(hint)
    }

    /// The pinned key was not among those the server has.
    pub(super) fn not_pinned(&self, shown: &PublicKey) -> Failure {
        let print = shown
            .to_bytes()
            .map(|blob| known_hosts::fingerprint(&blob))
            .unwrap_or_default();
        Failure::new(
            Code::HostKeyChanged,
            format!("{} does not have the pinned host key", self.name),
        )
        .because(format!(
            "cluster.toml says {}, it shows {} {print}",
            self.pin.as_deref().unwrap_or_default(),
            key_type(&shown.algorithm()),
        ))
        .hint(format!(
            "correct host-key under [hosts.{}] if you know why it changed",
            self.name
        ))
    }

    /// Appends the key to the user's file: 0600 where new, a whole line, no blank one.
    fn learn(&self, key: &PublicKey) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let text = key
            .to_openssh()
            .map_err(|error| self.unlearned().because(error))?;
        let mut words = text.split(' ');
        let (kind, blob) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if let Some(directory) = file.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|error| self.unlearned().because(error))?;
        }
        let name = if self.hashes {
            host_names::hashed(&self.names[0]).map_err(|error| self.unlearned().because(error))?
        } else {
            self.names[0].clone()
        };
        let mut line = format!("{name} {kind} {blob}\n");
        if fs_err::read(file).is_ok_and(|old| !old.is_empty() && !old.ends_with(b"\n")) {
            line.insert(0, '\n');
        }
        fs_err::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| self.unlearned().because(error))
    }

    fn unlearned(&self) -> Failure {
        Failure::new(
            Code::LocalFile,
            format!("cannot remember {}'s host key", self.name),
        )
    }

    fn accept(&self, key: PublicKey) {
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    fn accepted(&self) -> Option<PublicKey> {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
