//! Slicer's REST API through the host: a stream to the address the daemon is bound to, HTTP/1 over it.
//!
//! Versions differ in small things, so answers are read leniently: any 2xx, both spellings, `null` for an empty list.

mod attach;
mod connect;
mod exec;
mod http;
mod server;
mod types;
mod worker;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::deletion::DeletableVm;
use crate::failure::{Code, Failure, Result};
use crate::names::slicer::TOKEN_PATHS;
use crate::pipeline::WritePermit;
use crate::remote::Machine;
use crate::secret::Secret;
use crate::url::encode;
use crate::vm::Vm;
use http::Request;

pub use connect::{client, host_token, slicer_on};
pub use server::{Process, ServerFacts};
pub use types::{Group, Health, Logs, SecretEntry};
pub use worker::Held;

/// One daemon's API.
pub struct Slicer {
    /// The host it runs on.
    pub host: Arc<Machine>,
    /// Its group, for messages.
    pub group: String,
    /// Where it listens, as seen on the host.
    pub address: (Ipv4Addr, u16),
    /// Bearer token.
    pub token: Secret,
}

/// Reads a VM's host keys; twice where it booted less than two minutes ago, for a first boot makes new ones within seconds.
const HOST_KEYS: &str = "cat /etc/ssh/ssh_host_*_key.pub || exit; [ \"$(ps -o etimes= -p 1)\" -gt 120 ] 2>/dev/null && exit; \
     sleep 0.25; echo '== again'; cat /etc/ssh/ssh_host_*_key.pub";

/// The line before the second reading.
const SECOND_READING: &str = "== again\n";

impl Slicer {
    /// The daemon's groups.
    pub async fn groups(&self) -> Result<Vec<Group>> {
        self.get("/hostgroup").await.map(types::List::into_vec)
    }

    /// A group's VMs; none where the answer is `null`.
    ///
    /// # Errors
    ///
    /// No answer, a refusal, or a body that is missing or cut: that is not an empty list.
    pub async fn vms(&self, group: &str) -> Result<Vec<Vm>> {
        Ok(self.vms_or_null(group).await?.unwrap_or_default())
    }

    /// The same; `None` where the answer is `null`. Whether Slicer says `null` or `[]` where a group has no VMs is not documented
    /// (docs.slicervm.com, reference/api), so `null` may stand for an empty list or for none.
    ///
    /// # Errors
    ///
    /// As of [`Self::vms`].
    pub async fn vms_or_null(&self, group: &str) -> Result<Option<Vec<Vm>>> {
        let path = format!("/hostgroup/{}/nodes", encode(group));
        self.get(&path).await.map(types::List::listed)
    }

    /// What a VM's agent says of itself.
    pub async fn health(&self, vm: &str) -> Result<Health> {
        self.get(&format!("/vm/{}/health", encode(vm))).await
    }

    /// The last lines of a VM's serial console.
    pub async fn logs(&self, vm: &str, lines: u32) -> Result<Logs> {
        self.get(&format!("/vm/{}/logs?lines={lines}", encode(vm)))
            .await
    }

    /// Secrets by name; values are never readable.
    pub async fn secrets(&self) -> Result<Vec<SecretEntry>> {
        self.get("/secrets").await.map(types::List::into_vec)
    }

    /// Whether the daemon takes the client's token.
    pub async fn takes_its_token(&self) -> Result<bool> {
        match self.groups().await {
            Ok(_) => Ok(true),
            Err(failure) if failure.code == Code::SlicerToken => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The HTTP status that a request without a token gets: 401 where the daemon guards its API.
    pub async fn status_without_token(&self) -> Result<u16> {
        let reply = http::send(self, &Request::get("/nodes").without_token()).await?;
        Ok(reply.status)
    }

    /// Makes a secret, or replaces the value of the one that is there.
    pub async fn put_secret(&self, _: &WritePermit, name: &str, value: &Secret) -> Result<()> {
        let data = STANDARD.encode(value.expose());
        // 0600 root is what the guest needs too: k3s reads it as root.
        let body = json!({"name": name, "data": data, "permissions": "0600", "uid": 0, "gid": 0});
        let made = http::send(self, &Request::post("/secrets").json(&body)).await?;
        if made.status != 409 {
            return self.accept(&made).map(drop);
        }
        let path = format!("/secrets/{}", encode(name));
        let changed = http::send(self, &Request::patch(&path).json(&json!({"data": data}))).await?;
        self.accept(&changed).map(drop)
    }

    /// Deletes a VM that a rule lets go; one that is gone already is no failure.
    pub async fn delete_vm(&self, _: &WritePermit, vm: &DeletableVm) -> Result<()> {
        let path = format!(
            "/hostgroup/{}/nodes/{}",
            encode(vm.group()),
            encode(vm.name())
        );
        let reply = http::send(self, &Request::delete(&path)).await?;
        if reply.status == 404 {
            return Ok(());
        }
        self.accept(&reply).map(drop)
    }

    /// Brings a VM that is stopped or paused back, with the disk that it has.
    pub async fn start_vm(&self, _: &WritePermit, vm: &Vm) -> Result<()> {
        let verb = match vm.status.as_deref() {
            Some(status) if status.eq_ignore_ascii_case("paused") => "resume",
            _ => "relaunch",
        };
        let path = format!("/vm/{}/{verb}", encode(&vm.hostname));
        let reply = http::send(self, &Request::post(&path)).await?;
        // Somebody else was quicker.
        if reply.status == 409 {
            return Ok(());
        }
        self.accept(&reply).map(drop)
    }

    /// The SSH host keys of a VM, read through the agent: `ssh-ed25519 AAAA…` lines.
    ///
    /// # Errors
    ///
    /// Where they cannot be read, or a VM that has just booted is still making them.
    pub async fn host_keys(&self, vm: &str) -> Result<Vec<String>> {
        let done = exec::run(self, vm, HOST_KEYS).await?;
        if !done.ok() {
            return Err(
                Failure::new(Code::Vm, format!("cannot read the host keys of {vm}"))
                    .because(done.last_words()),
            );
        }
        let (first, second) = match done.stdout.split_once(SECOND_READING) {
            Some((first, second)) => (host_key_lines(first), Some(host_key_lines(second))),
            None => (host_key_lines(&done.stdout), None),
        };
        if first.is_empty() || second.is_some_and(|second| second != first) {
            return Err(
                Failure::new(Code::Vm, format!("{vm} has no settled SSH host keys"))
                    .because("its first boot is still making them"),
            );
        }
        Ok(first)
    }

    /// The failure of a request that the caller gave this long.
    pub fn late(&self, limit: Duration) -> Failure {
        http::late(self, limit)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let reply = http::send(self, &Request::get(path)).await?;
        let body = self.accept(&reply)?;
        serde_json::from_slice(body).map_err(|error| {
            self.failure(Code::SlicerApi).because(format!(
                "{path} is not the JSON that is documented: {error}"
            ))
        })
    }

    /// The body of a reply that says yes; otherwise a failure with the API's own words.
    fn accept<'r>(&self, reply: &'r http::Reply) -> Result<&'r [u8]> {
        match reply.status {
            200..=299 => Ok(&reply.body),
            401 => Err(self
                .failure(Code::SlicerToken)
                .because(format!("401: {}", types::error_text(&reply.body)))
                .hint(format!(
                    "put the token that its daemon was started with back into {} on {host}; or give {host} a new one, which \
                     restarts its daemons: slicer-k3s rotate-token --slicer {host} --allow-outage",
                    TOKEN_PATHS[0],
                    host = self.host.name()
                ))),
            status => Err(self
                .failure(Code::SlicerApi)
                .because(format!("{status}: {}", types::error_text(&reply.body)))),
        }
    }

    fn failure(&self, code: Code) -> Failure {
        let what = format!(
            "Slicer's API of {} on {} did not do it",
            self.group,
            self.host.name()
        );
        Failure::new(code, what).hint(format!(
            "on {}: sudo journalctl -u slicer-{} -n 30",
            self.host.name(),
            self.group
        ))
    }
}

/// `TYPE BASE64` of each public key line, sorted, comments dropped: two readings compare equal when the keys do.
fn host_key_lines(text: &str) -> Vec<String> {
    let mut keys: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some(kind), Some(key))
                    if kind.starts_with("ssh-") || kind.starts_with("ecdsa-") =>
                {
                    Some(format!("{kind} {key}"))
                }
                _ => None,
            }
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests;
