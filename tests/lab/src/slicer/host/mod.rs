//! What the host machine is and what the lab has put into it.

pub(crate) mod account;
pub(crate) mod fault;
pub(crate) mod licence;
pub(crate) mod profile;
pub(crate) mod variant;

use std::path::PathBuf;

/// Where things lie on a host; tests put them under a directory of their own.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The lab's directory in every host machine (`/lab`).
    pub(crate) lab: PathBuf,
    /// `/var/lib/slicer`.
    pub(crate) lib: PathBuf,
    /// `/var/log/slicer`.
    pub(crate) log: PathBuf,
    /// `/run/slicer`.
    pub(crate) run: PathBuf,
    /// `/etc/slicer-lab/profile.json`.
    pub(crate) profile: PathBuf,
    /// The daemon's working directory: disks and `.secrets` lie there.
    pub(crate) work: PathBuf,
}

impl Places {
    /// The places of a real host machine.
    pub(crate) fn standard() -> Self {
        Self {
            lab: "/lab".into(),
            lib: "/var/lib/slicer".into(),
            log: "/var/log/slicer".into(),
            run: "/run/slicer".into(),
            profile: "/etc/slicer-lab/profile.json".into(),
            work: std::env::current_dir().unwrap_or_else(|_| ".".into()),
        }
    }

    /// Everything under one directory, for tests.
    #[cfg(test)]
    pub(crate) fn under(root: &std::path::Path) -> Self {
        Self {
            lab: root.join("lab"),
            lib: root.join("lib"),
            log: root.join("log"),
            run: root.join("run"),
            profile: root.join("profile.json"),
            work: root.join("work"),
        }
    }

    /// The file that holds the API token.
    pub(crate) fn token(&self) -> PathBuf {
        self.lib.join("auth/token")
    }

    /// Where a VM's disk and records lie.
    pub(crate) fn vm(&self, hostname: &str) -> PathBuf {
        self.lab.join("data/vms").join(hostname)
    }

    /// A VM's serial log.
    pub(crate) fn serial(&self, hostname: &str) -> PathBuf {
        self.log.join(format!("{hostname}.txt"))
    }
}
