//! SSH in process (russh): hosts with the user's keys and known_hosts, VMs through their host with pinned keys.
//!
//! `user_config` says where to and as whom, `known_hosts` and `trust` who is at the other end, `dial` connects,
//! `auth` logs in, `session` keeps the connection and is the [`Remote`], `exec` and `attach` run commands on it.

mod attach;
mod auth;
mod client;
mod dial;
mod exec;
mod known_hosts;
mod session;
#[cfg(test)]
mod stand_in;
mod trust;
mod user_config;
mod vm;

use std::path::PathBuf;
use std::sync::Arc;

pub(in crate::remote) use user_config::expand;
pub use vm::{VmTarget, connect_vm};

use super::{Ask, Remote, Terminal};
use crate::failure::Result;

/// How to reach one host, as cluster.toml says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTarget {
    /// The host's name in cluster.toml, for messages.
    pub name: String,
    /// `[user@]host[:port]`, or an alias of the SSH configuration.
    pub target: String,
    /// The port, where given.
    pub port: Option<u16>,
    /// The private key's file, where given; may begin with `~`.
    pub key_file: Option<String>,
    /// `[user@]host[:port]`, separated by commas.
    pub jump: Option<String>,
    /// `SHA256:…` of its host key.
    pub host_key: Option<String>,
}

/// What to do about a host key that nobody has seen yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Write it to known_hosts without asking (`--accept-new-host-keys`).
    pub accept_new: bool,
}

/// What a connection takes from its surroundings; a value, so that tests can bring their own.
#[derive(Clone)]
pub struct Surroundings {
    /// The SSH configuration to use instead of the user's and the system's.
    pub config: Option<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The home directory that `~` stands for.
    pub home: PathBuf,
    /// The local user's name, the default for logins.
    pub user: String,
    /// Who answers questions.
    pub ask: Arc<dyn Ask>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            config: None,
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            home: variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from),
            user: variable("USER")
                .or_else(|| variable("LOGNAME"))
                .map_or_else(
                    || "root".to_owned(),
                    |user| user.to_string_lossy().into_owned(),
                ),
            ask: Arc::new(Terminal),
        }
    }
}

/// Connects to a host with the user's own SSH configuration, keys and known_hosts.
pub async fn connect_host(target: &HostTarget, policy: &KeyPolicy) -> Result<Box<dyn Remote>> {
    connect_host_in(target, policy, &Surroundings::of_process()).await
}

/// The same in given surroundings.
pub async fn connect_host_in(
    target: &HostTarget,
    policy: &KeyPolicy,
    surroundings: &Surroundings,
) -> Result<Box<dyn Remote>> {
    let hops = user_config::resolve(target, surroundings).await?;
    let dialer = dial::HostDialer::new(target, hops, *policy, surroundings.clone())?;
    let remote = session::SshRemote::connect(&target.name, Box::new(dialer)).await?;
    Ok(Box::new(remote))
}
