//! That a run changed nothing: on hosts, on the servers that are left, and at the workstation.

use anyhow::{Context as _, Result, bail};

use super::super::prints::{FILES_AND_UNITS, Look, Prints};
use super::home::Home;

/// On servers files count, and which data there are. Their units do not: a k3s without a quorum ends and is started again.
const FILES_AND_DATA: Look = Look {
    script: "find /etc /usr/local /var/lib/slicer-k3s -xdev -type f -size -100M -exec sha256sum {} + 2>/dev/null
ls -d /var/lib/rancher/k3s/server /var/lib/rancher/k3s/server/db/etcd* 2>/dev/null | sed 's/^/there /'
echo \"$(systemctl is-enabled k3s) k3s.service\"",
    least: 10,
};

/// What the person has of the cluster: its decisions and secrets, and the way to its API.
const MINE: Look = Look {
    script: "find /home/me/.local/state/slicer-k3s /home/me/.kube /home/me/cluster.toml -type f \\( -name '*.json' -o -name '*kubeconfig*' -o -name '*.toml' -o -name config \\) \
        -exec sha256sum {} + 2>/dev/null",
    least: 2,
};

/// What a run may have changed.
pub(super) struct Fingerprint {
    running: Vec<String>,
    hosts: Prints,
    servers: Prints,
    mine: Prints,
}

impl Fingerprint {
    /// As it is now.
    pub(super) fn of(home: &Home) -> Result<Self> {
        let trial = &home.trial;
        let running = trial.vms()?;
        let names: Vec<&str> = running.iter().map(String::as_str).collect();
        Ok(Self {
            hosts: Prints::of(trial, home.hosts, &FILES_AND_UNITS)?,
            servers: Prints::of(trial, &names, &FILES_AND_DATA)?,
            mine: Prints::of(trial, &["workstation"], &MINE)?,
            running,
        })
    }

    /// Still so, everywhere.
    pub(super) fn unchanged(&self, home: &Home) -> Result<()> {
        let after = self.cluster_unchanged(home)?;
        self.mine.untouched(&after.mine).context("the workstation")
    }

    /// Still so on hosts and servers; how it is now.
    pub(super) fn cluster_unchanged(&self, home: &Home) -> Result<Self> {
        let after = Self::of(home)?;
        if self.running != after.running {
            bail!(
                "VMs that ran: {:?}, that run: {:?}",
                self.running,
                after.running
            );
        }
        self.hosts.untouched(&after.hosts).context("hosts")?;
        self.servers.untouched(&after.servers).context("servers")?;
        Ok(after)
    }
}
