//! Where a host is, and what a connection to it takes from its surroundings.

use std::path::PathBuf;
use std::sync::Arc;

use super::unasked::{NoAnswer, is_unasked};
use crate::question::{Ask, Terminal};

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
    /// Those of this process; within [`super::unasked`] without its terminal.
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
            ask: if is_unasked() {
                Arc::new(NoAnswer)
            } else {
                Arc::new(Terminal)
            },
        }
    }
}
