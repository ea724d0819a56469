//! How VMs come and go: created, launched, ended, deleted, and what happens at the daemon's start and stop.

use std::{net::Ipv4Addr, pin::Pin, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use tokio::time::{Instant, sleep, timeout};

use super::{
    fleet::{Fleet, Node},
    group::Group,
    record::{Record, State},
};
use crate::{
    machine::{Ending, Launch},
    say, time,
};

/// How long guests have to power off when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(30);

/// What a request for a VM says.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// CPUs, at most the group's.
    pub(crate) cpus: Option<u32>,
    /// Memory, at most the group's.
    pub(crate) ram_bytes: Option<u64>,
    /// Whether its disk survives.
    pub(crate) persistent: Option<bool>,
    /// A fixed address.
    pub(crate) address: Option<Ipv4Addr>,
    /// Tags.
    pub(crate) tags: Vec<String>,
    /// Keys beside the daemon's.
    pub(crate) ssh_keys: Vec<String>,
    /// Whose keys to import.
    pub(crate) import_user: Option<String>,
    /// The first boot's script.
    pub(crate) userdata: Option<String>,
    /// The secrets it gets.
    pub(crate) secrets: Option<Vec<String>>,
}

impl Fleet {
    /// Enters a new VM into the table; it still has to be launched.
    pub(crate) fn create(
        &self,
        group: &Group,
        wish: Wish,
        protected: bool,
    ) -> Result<Node, String> {
        let prefix = group.gateway.prefix_len();
        let now = time::nanos_now();
        self.admit(group, wish.address, |number, address| Record {
            hostname: format!("{}-{number}", group.name),
            group: group.name.clone(),
            number,
            address: Ipv4Net::new_assert(address, prefix),
            cpus: wish.cpus.unwrap_or(group.cpus),
            ram_bytes: wish.ram_bytes.unwrap_or(group.ram_bytes),
            created: now / time::NANOS_A_SECOND,
            created_fraction: now % time::NANOS_A_SECOND,
            persistent: protected || wish.persistent.unwrap_or(group.persistent),
            protected,
            tags: wish.tags,
            ssh_keys: wish.ssh_keys,
            import_user: wish.import_user,
            userdata: wish.userdata.filter(|text| !text.is_empty()),
            secrets: wish.secrets,
        })
    }

    /// Boots a VM and watches over it until it ends.
    pub(crate) async fn launch(self: &Arc<Self>, hostname: &str) -> Result<()> {
        let node = self
            .begin_launch(hostname)
            .with_context(|| format!("{hostname} is gone"))?;
        let turn = Arc::clone(&node.turn);
        let held = turn.lock().await;
        if self
            .node(hostname)
            .is_none_or(|now| now.launch != node.launch)
        {
            // Deleted, or launched again, while this launch waited for its turn.
            return Ok(());
        }
        let outcome = self.boot(&node).await;
        drop(held);
        match outcome {
            Ok(()) => Ok(()),
            Err(error) => {
                log(hostname, &format!("failed to launch: {error:#}"));
                self.ended(&node, Ending::Death).await;
                Err(error)
            }
        }
    }

    async fn boot(self: &Arc<Self>, node: &Node) -> Result<()> {
        let record = &node.record;
        let group = self
            .group(&record.group)
            .context("its host group is gone")?
            .clone();
        let directory = self.places.vm(&record.hostname);
        record.save(&directory)?;
        let secrets = directory.join("seed/secrets");
        self.secrets
            .copy_to(record.secrets.as_deref(), &secrets)
            .context("copy its secrets")?;
        let mut ssh_keys = self.settings.ssh_keys.clone();
        ssh_keys.extend(record.ssh_keys.iter().cloned());
        let tap = group.tap(record.number)?;
        log(&record.hostname, &format!("Creating tap device: {tap}"));
        let fault = self.faults.boot(&record.hostname);
        if fault.as_deref() == Some("never") || self.wrong_image() {
            // A guest whose kernel hangs: the daemon sees a running process and nothing else.
            return Ok(());
        }
        let launch = Launch {
            userdata: record
                .userdata
                .clone()
                .or_else(|| group.userdata.clone())
                .map(|text| {
                    if self.faults.userdata(&record.hostname) {
                        "#!/bin/bash\necho 'userdata: made to fail'\nexit 1\n".to_owned()
                    } else {
                        text
                    }
                }),
            record: record.clone(),
            tap,
            group,
            ssh_keys,
            import_user: record
                .import_user
                .clone()
                .or_else(|| self.settings.github_user.clone()),
        };
        let ended = self.machines.boot(&launch).await?;
        log(
            &record.hostname,
            &format!("Started, IP: {}", record.address.addr()),
        );
        let fleet = Arc::clone(self);
        let node = node.clone();
        if fault.as_deref() == Some("die") {
            let machines = Arc::clone(&self.machines);
            let record = record.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(1)).await;
                let _ = machines.kill(&record).await;
            });
        }
        tokio::spawn(async move {
            let ending = ended.await.unwrap_or(Ending::Death);
            let turn = Arc::clone(&node.turn);
            let _held = turn.lock().await;
            fleet.ended(&node, ending).await;
        });
        Ok(())
    }

    /// Whether the image is one of another architecture: such a VM does not fail, it hangs (T-08).
    fn wrong_image(&self) -> bool {
        let image = &self.settings.image;
        ["x86_64", "aarch64"]
            .iter()
            .any(|arch| image.contains(arch) && *arch != self.arch)
    }

    /// A VM has ended by itself: an ephemeral one goes with its disk, a persistent one is stopped.
    async fn ended(self: &Arc<Self>, node: &Node, ending: Ending) {
        let record = &node.record;
        if self
            .node(&record.hostname)
            .is_none_or(|now| now.launch != node.launch || now.state == State::Stopped)
        {
            return;
        }
        log(&record.hostname, &format!("guest ended: {ending:?}"));
        let _ = self.machines.kill(record).await;
        // Firecracker's process outlives the guest's power-off: the VM stays in the list and answers nothing.
        if ending == Ending::PowerOff && !self.variant.is("poweroff", "stops") {
            return;
        }
        if record.persistent {
            self.set_state(&record.hostname, node.launch, State::Stopped);
            if record.protected && self.variant.is("fixed-reboot", "relaunched") {
                let (fleet, hostname) = (Arc::clone(self), record.hostname.clone());
                tokio::spawn(fleet.relaunch_later(hostname));
            }
        } else {
            let _ = self.remove(record).await;
        }
    }

    /// Boots a VM that is stopped from the disk that it has. Where that is lost, it gets a new one from the image, or
    /// is refused: then only the daemon's next start makes one.
    pub(crate) async fn relaunch(self: &Arc<Self>, hostname: &str) -> Result<()> {
        ensure!(
            !self.variant.is("disk-lost", "refused") || self.machines.has_disk(hostname),
            "failed to open disk image {hostname}.img: no such file or directory"
        );
        self.launch(hostname).await
    }

    /// Boxed: a launch may end in a launch.
    fn relaunch_later(
        self: Arc<Self>,
        hostname: String,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if let Err(error) = self.relaunch(&hostname).await {
                log(&hostname, &format!("not relaunched: {error:#}"));
            }
        })
    }

    /// Ends a VM and removes it with its disk; `false` when it was gone already.
    pub(crate) async fn delete(&self, node: &Node) -> Result<bool> {
        let _held = node.turn.lock().await;
        let Some(node) = self.still(node) else {
            return Ok(false);
        };
        // Told first, so that its end is not taken for a crash.
        self.set_state(&node.record.hostname, node.launch, State::Stopped);
        self.remove(&node.record).await?;
        log(&node.record.hostname, "Deleted");
        Ok(true)
    }

    async fn remove(&self, record: &Record) -> Result<()> {
        self.machines.kill(record).await?;
        self.machines.discard(&record.hostname).await?;
        self.forget(&record.hostname);
        Ok(())
    }

    /// Waits until the agent answers and, where asked, the first boot's script is over.
    pub(crate) async fn wait_ready(&self, node: &Node, userdata: bool, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            if self.still(node).is_none() {
                return false;
            }
            if let Some(health) = self.machines.health(&node.record.hostname)
                && (!userdata || health.userdata_ran)
            {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the daemon does first: networks, fixed VMs, and an end to what an earlier daemon left.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<()> {
        for group in &self.settings.groups {
            self.machines
                .open(group)
                .await
                .with_context(|| format!("host group {}", group.name))?;
        }
        let names: Vec<&str> = self.group_names().collect();
        let mut fixed = Vec::new();
        for record in Record::load_all(&self.places.lab.join("data/vms"), &names) {
            let _ = self.machines.kill(&record).await;
            let wanted = self
                .group(&record.group)
                .is_some_and(|group| record.number <= group.count);
            if (record.protected && wanted) || (record.persistent && !record.protected) {
                let (hostname, protected) = (record.hostname.clone(), record.protected);
                self.readmit(record);
                if protected {
                    fixed.push(hostname);
                }
            } else {
                self.machines.discard(&record.hostname).await?;
            }
        }
        for group in &self.settings.groups {
            let present = self
                .nodes(Some(&group.name))
                .iter()
                .filter(|n| n.record.protected)
                .count();
            for _ in u32::try_from(present).unwrap_or(u32::MAX)..group.count {
                let node = self
                    .create(group, Wish::default(), true)
                    .map_err(anyhow::Error::msg)?;
                fixed.push(node.record.hostname);
            }
        }
        for hostname in fixed {
            let fleet = Arc::clone(self);
            tokio::spawn(async move {
                let _ = fleet.launch(&hostname).await;
            });
        }
        Ok(())
    }

    /// What the daemon does last: persistent guests are shut down, ephemeral ones removed, networks too.
    pub(crate) async fn stop(self: &Arc<Self>) -> Result<()> {
        let farewells: Vec<_> = self
            .nodes(None)
            .into_iter()
            .map(|node| {
                let fleet = Arc::clone(self);
                tokio::spawn(async move { fleet.farewell(&node).await })
            })
            .collect();
        let mut failed = 0;
        for farewell in farewells {
            if !matches!(farewell.await, Ok(Ok(()))) {
                failed += 1;
            }
        }
        for group in &self.settings.groups {
            self.machines.close(group).await?;
        }
        ensure!(failed == 0, "{failed} VMs could not be cleared away");
        Ok(())
    }

    async fn farewell(&self, node: &Node) -> Result<()> {
        if !node.record.persistent {
            return self.delete(node).await.map(drop);
        }
        let hostname = &node.record.hostname;
        if node.state == State::Paused {
            let _ = self.machines.freeze(hostname, false);
        }
        let running = node.state != State::Stopped && self.machines.health(hostname).is_some();
        self.set_state(hostname, node.launch, State::Stopped);
        if running
            && self.settings.graceful
            && self.machines.ask(hostname, Ending::PowerOff).is_ok()
        {
            let gone = async {
                while self.machines.health(hostname).is_some() {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            if timeout(FAREWELL, gone).await.is_err() {
                log(hostname, "did not power off in time: killed");
            }
        }
        let _held = node.turn.lock().await;
        self.machines.kill(&node.record).await
    }

    /// Lays changed secrets where `slicer-agent secrets sync` in each guest finds them.
    pub(crate) fn share_secrets(&self) {
        for node in self
            .nodes(None)
            .iter()
            .filter(|node| node.state != State::Stopped)
        {
            let target = self.places.vm(&node.record.hostname).join("seed/secrets");
            if let Err(error) = self
                .secrets
                .copy_to(node.record.secrets.as_deref(), &target)
            {
                log(
                    &node.record.hostname,
                    &format!("secrets not shared: {error}"),
                );
            }
        }
    }
}

/// One line of the daemon's output about a VM.
fn log(hostname: &str, text: &str) {
    say::line(format!(
        "{} [{hostname}] {text}",
        time::rfc3339(time::unix_now())
    ));
}
