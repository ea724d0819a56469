//! VMs: through their host, with the cluster's key, and host keys that Slicer's API told us beforehand.

use std::net::Ipv4Addr;
use std::sync::Arc;

use async_trait::async_trait;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use super::client::{Broken, Judge, Refusal, all_kinds, handshake, key_type, unreachable};
use super::connection::{Connection, Dial, PATIENCE};
use super::known_hosts::fingerprint;
use super::{auth, session};
use crate::failure::{Code, Failure, Result};
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
    /// Host keys read through Slicer's API: `ssh-ed25519 AAAA…` lines.
    pub host_keys: Vec<String>,
}

/// Connects to a VM.
pub async fn connect_vm(target: VmTarget) -> Result<Box<dyn Remote>> {
    connect_vm_at(target, 22).await
}

/// The same where its SSH server listens elsewhere.
pub(super) async fn connect_vm_at(target: VmTarget, port: u16) -> Result<Box<dyn Remote>> {
    let name = target.name.clone();
    let pinned: Vec<PublicKey> = target
        .host_keys
        .iter()
        .filter_map(|line| PublicKey::from_openssh(line.trim()).ok())
        .collect();
    if pinned.is_empty() {
        return Err(Failure::new(
            Code::HostKeyUnknown,
            format!("{name}'s host keys are not known"),
        )
        .because("Slicer's API told none that could be read"));
    }
    let key = russh::keys::decode_secret_key(target.key.expose(), None).map_err(|error| {
        Failure::new(Code::LocalFile, "the cluster's SSH key cannot be read").because(error)
    })?;
    let dialer = VmDialer {
        target,
        port,
        key,
        pinned,
    };
    Ok(Box::new(
        session::SshRemote::connect(&name, Box::new(dialer)).await?,
    ))
}

struct VmDialer {
    target: VmTarget,
    port: u16,
    key: PrivateKey,
    pinned: Vec<PublicKey>,
}

#[async_trait]
impl Dial for VmDialer {
    async fn dial(&self) -> Result<Connection> {
        let VmTarget {
            name,
            via,
            address,
            user,
            ..
        } = &self.target;
        let what = || {
            format!(
                "cannot connect to {name} ({address}) through {}",
                via.name()
            )
        };
        let late = || {
            Failure::new(Code::SshUnreachable, what())
                .because(format!("no answer within {} s", PATIENCE.as_secs()))
        };
        let stream = via.forward(&address.to_string(), self.port).await?;
        let shaken = tokio::time::timeout(PATIENCE, handshake(stream, self.kinds(), self.judge()));
        let (mut client, ending) = match shaken.await.map_err(|_| late())? {
            Ok(connected) => connected,
            Err(Broken::Refused(refusal)) => return Err(self.impostor(*refusal)),
            Err(Broken::Ssh(error)) => return Err(unreachable(what(), &error)),
        };
        let login = auth::with_key(&mut client, user, self.key.clone());
        match tokio::time::timeout(PATIENCE, login)
            .await
            .map_err(|_| late())?
        {
            Ok(true) => Ok(Connection::new(client, ending, Vec::new())),
            // Not `SshAuth`, which ends all waiting: sshd may answer before the first boot has placed the key.
            Ok(false) => Err(Failure::new(
                Code::Vm,
                format!("{name} does not accept the cluster's key for {user}"),
            )
            .because("a VM that has just booted may not have it yet")
            .hint("if this lasts, the group's YAML names another key: slicer-k3s status tells whether it differs")),
            Err(error) => Err(unreachable(what(), &error)),
        }
    }
}

impl VmDialer {
    /// Only kinds of which a key is pinned.
    fn kinds(&self) -> Vec<Algorithm> {
        let pinned = |kind: &Algorithm| {
            self.pinned
                .iter()
                .any(|key| key_type(&key.algorithm()) == key_type(kind))
        };
        all_kinds().into_iter().filter(pinned).collect()
    }

    fn judge(&self) -> Judge {
        let pinned = self.pinned.clone();
        Arc::new(move |shown| {
            let same = pinned.iter().any(|key| key.key_data() == shown.key_data());
            if same {
                Ok(())
            } else {
                Err(Box::new(Refusal::NotPinned(shown.clone())))
            }
        })
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
mod tests {
    use super::super::stand_in::{Habits, key, pem, start};
    use super::*;
    use crate::remote::{Local, Sudo};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A VM of these habits behind "this machine", connected with `mine` and these pinned host keys.
    async fn connect(
        habits: Habits,
        mine: &PrivateKey,
        pinned: &[&PrivateKey],
    ) -> Result<Box<dyn Remote>> {
        let port = start(habits).await;
        let target = VmTarget {
            name: "k3s-cp-1".into(),
            via: Arc::new(Machine::new("n100", Box::new(Local), Sudo::Root)),
            address: Ipv4Addr::LOCALHOST,
            user: "ubuntu".into(),
            key: Secret::new(pem(mine)),
            host_keys: pinned
                .iter()
                .map(|key| key.public_key().to_openssh().unwrap())
                .collect(),
        };
        connect_vm_at(target, port).await
    }

    fn habits(host: &PrivateKey, mine: &PrivateKey) -> Habits {
        Habits {
            host_keys: vec![host.clone()],
            lets_in: mine.public_key().clone(),
            wants_more: false,
        }
    }

    #[tokio::test]
    async fn a_vm_with_a_pinned_key_runs_commands_with_much_input() {
        let (host, mine) = (key(), key());
        let remote = connect(habits(&host, &mine), &mine, &[&key(), &host])
            .await
            .unwrap();
        let out = remote
            .exec("count", &vec![b'x'; 3 << 20], LIMIT)
            .await
            .unwrap();
        assert_eq!((out.status, out.stdout.as_str()), (3, "3145728"));
        assert_eq!(out.last_words(), "\u{fffd}\u{fffd} broken text");
        assert_eq!(
            remote.exec("kill", b"", LIMIT).await.unwrap().status,
            128 + 15
        );
    }

    #[tokio::test]
    async fn a_connection_that_vanishes_is_lost_and_made_again() {
        let (host, mine) = (key(), key());
        let remote = connect(habits(&host, &mine), &mine, &[&host])
            .await
            .unwrap();
        assert_eq!(
            remote.exec("vanish", b"", LIMIT).await.unwrap_err().code,
            Code::SshLost
        );
        assert_eq!(
            remote.exec("count", b"four", LIMIT).await.unwrap().stdout,
            "4"
        );
    }

    #[tokio::test]
    async fn another_machine_at_the_vms_address_is_refused_for_good() {
        let (host, mine) = (key(), key());
        let failure = connect(habits(&host, &mine), &mine, &[&key()])
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(failure.code, Code::HostKeyChanged);
        assert!(failure.is_lasting());
        let failure = connect(habits(&host, &mine), &mine, &[])
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(failure.code, Code::HostKeyUnknown);
    }

    #[tokio::test]
    async fn a_vm_that_has_no_key_yet_is_waited_for() {
        let (host, mine) = (key(), key());
        let failure = connect(habits(&host, &key()), &mine, &[&host])
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(failure.code, Code::Vm);
        assert!(!failure.is_lasting());
        let more = Habits {
            wants_more: true,
            ..habits(&host, &mine)
        };
        assert!(connect(more, &mine, &[&host]).await.is_err());
    }
}
