//! SSH in process (russh): hosts with the user's keys and known_hosts, VMs through their host with pinned keys.
//!
//! `target` is what we are told, `user_config` says where to and as whom, `known_hosts` and `trust` who is at the other end, `dial` connects,
//! `auth` logs in, `unasked` without questions, `session` keeps the connection and is the [`Remote`], `exec` and `attach` run commands on it.

mod attach;
mod auth;
mod client;
mod connection;
mod dial;
mod exec;
mod host_names;
mod known_hosts;
mod login_shell;
mod session;
#[cfg(test)]
mod stand_in;
mod target;
mod trust;
mod tunnel;
mod unasked;
mod user_config;
mod vm;

pub use target::{HostTarget, KeyPolicy, Surroundings};
#[cfg(test)]
pub(crate) use unasked::is_unasked;
pub(crate) use unasked::unasked;
pub(in crate::remote) use user_config::expand;
pub use vm::{HostKeys, VmTarget, connect_vm};

use super::Remote;

/// An SSH server's public key of the kind that all of today's have.
///
/// Source: `sshd_config(5)`, `HostKey`; ssh-keygen(1), `-A`.
pub const HOST_KEY_PATH: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
use crate::failure::Result;

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
