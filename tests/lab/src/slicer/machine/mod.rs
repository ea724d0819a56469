//! What runs VMs: nested systemd machines on a host, or nothing but directories in tests.

mod going;
pub(crate) mod inside;
pub(crate) mod nspawn;
#[cfg(test)]
pub(crate) mod pretend;

use std::{ffi::OsString, future::Future, pin::Pin};

use anyhow::Result;
use tokio::{process::Command, sync::oneshot};

use crate::daemon::{group::Group, record::Record};

/// A boxed future, so that the trait can be a trait object.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What a VM is booted from.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Who it is.
    pub(crate) record: Record,
    /// The tap's name.
    pub(crate) tap: String,
    /// Its group.
    pub(crate) group: Group,
    /// Keys for the user.
    pub(crate) ssh_keys: Vec<String>,
    /// Whose keys on GitHub the guest fetches at its first boot.
    pub(crate) import_user: Option<String>,
    /// The first boot's script: the request's, else the group's.
    pub(crate) userdata: Option<String>,
}

/// How a VM ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The guest rebooted.
    Reboot,
    /// The guest powered off.
    PowerOff,
    /// It was killed, or died.
    Death,
}

/// What the agent in a VM says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Seconds since the agent started.
    pub(crate) agent_uptime: i64,
    /// Seconds since the guest started.
    pub(crate) system_uptime: i64,
    /// Whether the first boot's script is over.
    pub(crate) userdata_ran: bool,
    /// How it ended, once it has.
    pub(crate) userdata_exit_code: Option<i32>,
}

/// A command to be run in a VM.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The program and its arguments.
    pub(crate) argv: Vec<OsString>,
    /// Whose rights.
    pub(crate) uid: u32,
    /// Whose group.
    pub(crate) gid: u32,
    /// Where.
    pub(crate) cwd: Option<String>,
    /// More environment, `K=V`.
    pub(crate) env: Vec<String>,
}

impl Entry {
    /// A command of root's.
    pub(crate) fn root<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            uid: 0,
            gid: 0,
            cwd: None,
            env: Vec::new(),
        }
    }
}

/// What runs VMs.
pub(crate) trait Machines: Send + Sync {
    /// Clears what a killed daemon left of this group, and makes its network.
    fn open<'a>(&'a self, group: &'a Group) -> Doing<'a, ()>;
    /// Removes the group's network.
    fn close<'a>(&'a self, group: &'a Group) -> Doing<'a, ()>;
    /// Boots a VM; the receiver tells how it ended.
    fn boot<'a>(&'a self, launch: &'a Launch) -> Doing<'a, oneshot::Receiver<Ending>>;
    /// Asks the guest to end; resolves when it was asked.
    fn ask(&self, hostname: &str, ending: Ending) -> Result<()>;
    /// Ends a VM at once and clears all but its disk.
    fn kill<'a>(&'a self, record: &'a Record) -> Doing<'a, ()>;
    /// Whether the VM has a disk.
    fn has_disk(&self, hostname: &str) -> bool;
    /// Removes a VM's disk.
    fn discard<'a>(&'a self, hostname: &'a str) -> Doing<'a, ()>;
    /// Stops or continues a VM's CPUs.
    fn freeze(&self, hostname: &str, frozen: bool) -> Result<()>;
    /// A process to be spawned in the VM. It may fork and wait, as `nsenter` does: see [`inside::Inside`].
    fn enter(&self, hostname: &str, entry: &Entry) -> Result<Command>;
    /// What the agent says; `None` while it does not answer.
    fn health(&self, hostname: &str) -> Option<Health>;
}
