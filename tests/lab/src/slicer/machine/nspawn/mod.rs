//! VMs as systemd machines nested inside the host.

mod boot;
mod cgroup;
mod disk;
mod guest;
mod hardware;
mod network;
mod tool;

use std::{fs, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use tokio::{process::Command, sync::oneshot};

use super::{Doing, Ending, Entry, Health, Launch, Machines, going::Going};
use crate::{
    daemon::{group::Group, record::Record},
    host::{Places, variant::Variant},
    time,
};

/// Nested machines of this host.
pub(crate) struct Nspawn {
    places: Places,
    variant: Variant,
}

impl Nspawn {
    /// The machines of this host.
    pub(crate) fn new(places: Places, variant: Variant) -> Result<Self> {
        let root = places.lab.join("root");
        ensure!(
            root.join("usr").is_dir(),
            "{} is not there: this stand-in runs only inside a lab's host machine",
            root.display()
        );
        Ok(Self { places, variant })
    }

    fn leader(&self, hostname: &str) -> Result<u32> {
        let path = self.places.vm(hostname).join("leader.pid");
        fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .with_context(|| format!("{hostname} does not run"))
    }

    /// A file as the guest sees it.
    fn inside(&self, hostname: &str, path: &str) -> Option<PathBuf> {
        let leader = self.leader(hostname).ok()?;
        Some(PathBuf::from(format!("/proc/{leader}/root{path}")))
    }
}

impl Machines for Nspawn {
    fn open<'a>(&'a self, group: &'a Group) -> Doing<'a, ()> {
        Box::pin(async move {
            cgroup::writable().await?;
            network::open(group, self.variant.is("masquerade", "public-only")).await
        })
    }

    fn close<'a>(&'a self, group: &'a Group) -> Doing<'a, ()> {
        Box::pin(network::close(group))
    }

    fn boot<'a>(&'a self, launch: &'a Launch) -> Doing<'a, oneshot::Receiver<Ending>> {
        Box::pin(boot::boot(&self.places, &self.variant, launch))
    }

    fn ask(&self, hostname: &str, ending: Ending) -> Result<()> {
        let verb = if ending == Ending::Reboot {
            "reboot"
        } else {
            "poweroff"
        };
        let mut command = self.enter(hostname, &Entry::root(["systemctl", "--no-block", verb]))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        tokio::spawn(async move {
            let _going = Going::of(&child);
            child.wait().await
        });
        Ok(())
    }

    fn kill<'a>(&'a self, record: &'a Record) -> Doing<'a, ()> {
        Box::pin(async move {
            let directory = self.places.vm(&record.hostname);
            cgroup::kill(&record.hostname).await?;
            let _ = fs::remove_file(directory.join("leader.pid"));
            network::unplug(&record.hostname).await;
            disk::unmount(&directory).await
        })
    }

    fn has_disk(&self, hostname: &str) -> bool {
        disk::image(&self.places, hostname).exists()
    }

    fn discard<'a>(&'a self, hostname: &'a str) -> Doing<'a, ()> {
        Box::pin(disk::discard(&self.places, hostname))
    }

    fn freeze(&self, hostname: &str, frozen: bool) -> Result<()> {
        cgroup::freeze(hostname, frozen)
    }

    fn enter(&self, hostname: &str, entry: &Entry) -> Result<Command> {
        let leader = self.leader(hostname)?.to_string();
        let (uid, gid) = (entry.uid.to_string(), entry.gid.to_string());
        let (user, home) = match entry.uid {
            0 => ("root", "/root"),
            1000 => (guest::USER, guest::HOME),
            _ => ("nobody", "/"),
        };
        let mut command = Command::new("/bin/sh");
        // Into the VM's cgroups first: what is run there must be frozen and end with it.
        command
            .args(["-c", cgroup::JOIN, "join"])
            .arg(cgroup::joined(hostname).join(":"));
        command.args([
            "nsenter", "--target", &leader, "--mount", "--uts", "--ipc", "--net", "--pid",
            "--cgroup",
        ]);
        command.args(["--", "setpriv", "--reuid", &uid, "--regid", &gid]);
        command.arg(if matches!(entry.uid, 0 | 1000) {
            "--init-groups"
        } else {
            "--clear-groups"
        });
        command.args([
            "env",
            "--ignore-environment",
            "--chdir",
            entry.cwd.as_deref().unwrap_or(home),
        ]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args([
            format!("HOME={home}"),
            format!("USER={user}"),
            format!("LOGNAME={user}"),
        ]);
        command.args(entry.env.iter().filter(|pair| pair.contains('=')));
        command.args(&entry.argv);
        Ok(command)
    }

    fn health(&self, hostname: &str) -> Option<Health> {
        let now = time::unix_now();
        let since =
            |path: PathBuf| Some(now - time::unix(fs::metadata(path).ok()?.modified().ok()?));
        let agent = since(self.inside(hostname, guest::STARTED)?)?;
        let system = since(self.places.vm(hostname).join("leader.pid"))?;
        let marker = fs::read_to_string(self.inside(hostname, guest::USERDATA_RAN)?);
        Some(Health {
            // Zero would mean that the agent is not up.
            agent_uptime: agent.max(1),
            system_uptime: system.max(1),
            userdata_ran: marker.is_ok(),
            userdata_exit_code: marker.ok().and_then(|text| text.trim().parse().ok()),
        })
    }
}
