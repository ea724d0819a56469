//! VMs: through their host, with the cluster's key, and host keys that Slicer's API told us beforehand.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use super::client::{
    Broken, Client, Ending, Judge, Refusal, all_kinds, handshake, key_type, unreachable,
};
use super::connection::{Connection, Dial, TIMEOUT};
use super::known_hosts::fingerprint;
use super::{auth, session};
use crate::failure::{Code, Failure, Result};
use crate::log;
use crate::remote::{Machine, Remote};
use crate::secret::Secret;

/// How to reach one VM: through its host, with the cluster's key, host keys pinned.
pub struct VmTarget {
    /// The VM's name, for messages.
    pub name: String,
    /// The machine that can reach it.
    pub via: Arc<Machine>,
    /// Its address.
    pub address: Ipv4Addr,
    /// The user to log in as.
    pub user: String,
    /// Private key, OpenSSH PEM.
    pub key: Secret,
    /// Where its host keys are read: no other key is accepted.
    pub host_keys: Box<dyn HostKeys>,
}

/// What reports a VM's host keys by another way than the connection that they are to vouch for.
#[async_trait]
pub trait HostKeys: Send + Sync {
    /// The keys as the VM has them now: `ssh-ed25519 AAAA…` lines.
    ///
    /// # Errors
    ///
    /// Where they cannot be read, or are just being made.
    async fn read(&self) -> Result<Vec<String>>;
}

/// Connects to a VM.
pub async fn connect_vm(target: VmTarget) -> Result<Box<dyn Remote>> {
    connect_vm_at(target, 22).await
}

/// The same where its SSH server listens elsewhere.
pub(super) async fn connect_vm_at(target: VmTarget, port: u16) -> Result<Box<dyn Remote>> {
    let name = target.name.clone();
    let pinned = target.read_host_keys().await?;
    let key = russh::keys::decode_secret_key(target.key.expose(), None).map_err(|error| {
        Failure::new(Code::LocalFile, "the cluster's SSH key cannot be read").because(error)
    })?;
    let dialer = VmDialer {
        target,
        port,
        key,
        pinned: Mutex::new(pinned),
    };
    Ok(Box::new(
        session::SshRemote::connect(&name, Box::new(dialer)).await?,
    ))
}

impl VmTarget {
    async fn read_host_keys(&self) -> Result<Vec<PublicKey>> {
        let lines = self.host_keys.read().await?;
        let keys = lines.iter();
        let keys: Vec<PublicKey> = keys
            .filter_map(|line| PublicKey::from_openssh(line.trim()).ok())
            .collect();
        if keys.is_empty() {
            return Err(Failure::new(
                Code::HostKeyUnknown,
                format!("{}'s host keys are not known", self.name),
            )
            .because("Slicer's API told none that could be read"));
        }
        Ok(keys)
    }

    /// Messages begin with it.
    fn what(&self) -> String {
        let (name, address, via) = (&self.name, self.address, self.via.name());
        format!("cannot connect to {name} ({address}) through {via}")
    }

    fn late(&self) -> Failure {
        Failure::new(Code::SshUnreachable, self.what())
            .because(format!("no answer within {} s", TIMEOUT.as_secs()))
    }
}

struct VmDialer {
    target: VmTarget,
    port: u16,
    key: PrivateKey,
    pinned: Mutex<Vec<PublicKey>>,
}

#[async_trait]
impl Dial for VmDialer {
    async fn dial(&self) -> Result<Connection> {
        let target = &self.target;
        let (mut client, ending) = match self.shake(&self.pinned()).await? {
            Ok(connected) => connected,
            Err(refusal) => {
                let made_again = self.made_again(*refusal).await?;
                let connected = self.shake(&made_again).await?;
                connected.map_err(|refusal| self.impostor(*refusal))?
            }
        };
        let login = auth::with_key(&mut client, &target.user, self.key.clone());
        match tokio::time::timeout(TIMEOUT, login)
            .await
            .map_err(|_| target.late())?
        {
            Ok(true) => Ok(Connection::new(client, ending, Vec::new())),
            // Not `SshAuth`, which ends all waiting: sshd may answer before the first boot has placed the key.
            Ok(false) => Err(Failure::new(
                Code::Vm,
                format!(
                    "{} does not accept the cluster's key for {}",
                    target.name, target.user
                ),
            )
            .because("a VM that has just booted may not have it yet")
            .hint("if this lasts, the group's YAML names another key: slicer-k3s status tells whether it differs")),
            Err(error) => Err(unreachable(target.what(), &error)),
        }
    }
}

/// Only kinds of which a key is pinned.
fn kinds(pinned: &[PublicKey]) -> Vec<Algorithm> {
    let is_pinned = |kind: &Algorithm| {
        pinned
            .iter()
            .any(|key| key_type(&key.algorithm()) == key_type(kind))
    };
    all_kinds().into_iter().filter(is_pinned).collect()
}

fn is_among(keys: &[PublicKey], shown: &PublicKey) -> bool {
    keys.iter().any(|key| key.key_data() == shown.key_data())
}

fn judge(pinned: &[PublicKey]) -> Judge {
    let pinned = pinned.to_vec();
    Arc::new(move |shown| {
        if is_among(&pinned, shown) {
            Ok(())
        } else {
            Err(Box::new(Refusal::NotPinned(shown.clone())))
        }
    })
}

impl VmDialer {
    fn pinned(&self) -> Vec<PublicKey> {
        let pinned = self.pinned.lock();
        pinned.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection, not logged in yet; the inner error where the VM showed none of these keys.
    async fn shake(&self, pinned: &[PublicKey]) -> Result<Result<(Client, Ending), Box<Refusal>>> {
        let target = &self.target;
        let address = target.address.to_string();
        let stream = target.via.forward(&address, self.port).await?;
        let shaken = handshake(stream, kinds(pinned), judge(pinned));
        match tokio::time::timeout(TIMEOUT, shaken)
            .await
            .map_err(|_| target.late())?
        {
            Ok(connected) => Ok(Ok(connected)),
            Err(Broken::Refused(refusal)) => Ok(Err(refusal)),
            Err(Broken::Ssh(error)) => Err(unreachable(target.what(), &error)),
        }
    }

    /// The keys as they are read once more, which are pinned from now on, where the refused key is one of them: a first boot
    /// makes the keys that an image brings again, maybe after they were read.
    ///
    /// Source: slicervm/docs.slicervm.com@05085f9 docs/platform/ephemeral-tasks.md (unit `regen-ssh-host-keys`).
    async fn made_again(&self, refusal: Refusal) -> Result<Vec<PublicKey>> {
        let Refusal::NotPinned(shown) = &refusal else {
            return Err(self.impostor(refusal));
        };
        match self.target.read_host_keys().await {
            Ok(now) if is_among(&now, shown) => {
                log::note(format!(
                    "the host keys of {} were made again",
                    self.target.name
                ));
                let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
                pinned.clone_from(&now);
                Ok(now)
            }
            // They are just being made, or its agent does not answer: nothing is known of the key yet.
            Err(failure) if !failure.is_permanent() => Err(failure),
            Ok(_) | Err(_) => Err(self.impostor(refusal)),
        }
    }

    fn impostor(&self, refusal: Refusal) -> Failure {
        let key = match refusal {
            Refusal::NotPinned(key) | Refusal::Unknown(key) => key,
            Refusal::Wrong(failure) => return failure,
        };
        let shown = key
            .to_bytes()
            .map(|blob| fingerprint(&blob))
            .unwrap_or_default();
        Failure::new(
            Code::HostKeyChanged,
            format!(
                "what answers at {} is not {}",
                self.target.address, self.target.name
            ),
        )
        .because(format!(
            "it shows {shown}, which is none of the host keys that Slicer's API told"
        ))
        .hint(format!(
            "another machine may have this address: on {}, ip neigh show {}",
            self.target.via.name(),
            self.target.address
        ))
    }
}

#[cfg(test)]
mod tests;
