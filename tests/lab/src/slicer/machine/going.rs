//! What waits outside for a command in a VM, kept going.
//!
//! A guest that shuts down stops all its processes, ends them, and continues them (systemd, `broadcast_signal`).
//! `nsenter` stops itself when its child was stopped, and no one in the guest can continue it: the child would stay a
//! zombie, and the guest would wait for it for 90 s. No process of a real VM has a parent outside.

use std::{fs, os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{process::Child, task::JoinHandle, time::sleep};

/// Between two readings of its state.
const BETWEEN: Duration = Duration::from_millis(200);

/// Continues a process that was stopped though none of its children is, until dropped.
pub(crate) struct Going(JoinHandle<()>);

impl Going {
    /// Of a child; `None` when it is over.
    pub(crate) fn of(child: &Child) -> Option<Self> {
        let pid = Pid::from_raw(child.id()?.cast_signed())?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self(tokio::spawn(keep(pid, handle))))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(pid: Pid, handle: OwnedFd) {
    loop {
        sleep(BETWEEN).await;
        let number = pid.as_raw_nonzero().to_string();
        if !stopped(&number) {
            continue;
        }
        let children = fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
        // With a child that stands still it was stopped on purpose.
        if children.is_ok_and(|children| !children.split_whitespace().any(stopped))
            && pidfd_send_signal(&handle, Signal::CONT).is_err()
        {
            return;
        }
    }
}

fn stopped(pid: &str) -> bool {
    // The name before the state is in brackets, and may have any of its own.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}
