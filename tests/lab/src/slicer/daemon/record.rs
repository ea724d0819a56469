//! What the daemon knows of one VM, and keeps on disk for its next start.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::time;

/// What a VM is made of; kept beside its disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// `<group>-<number>`.
    pub(crate) hostname: String,
    /// Its group.
    pub(crate) group: String,
    /// Its number in the group.
    pub(crate) number: u32,
    /// Its address with the mask.
    pub(crate) address: Ipv4Net,
    /// CPUs.
    pub(crate) cpus: u32,
    /// Memory.
    pub(crate) ram_bytes: u64,
    /// When it was made, in seconds since the epoch.
    pub(crate) created: i64,
    /// The fraction of that second, in nanoseconds; records of earlier builds have none.
    #[serde(default)]
    pub(crate) created_fraction: i64,
    /// Whether the disk survives the daemon.
    pub(crate) persistent: bool,
    /// Whether it came from the YAML's `count`, and may not be deleted.
    pub(crate) protected: bool,
    /// Free-form tags.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Keys of its own, beside the daemon's.
    #[serde(default)]
    pub(crate) ssh_keys: Vec<String>,
    /// Whose keys the guest tries to import.
    #[serde(default)]
    pub(crate) import_user: Option<String>,
    /// The first boot's script.
    #[serde(default)]
    pub(crate) userdata: Option<String>,
    /// The secrets it gets; all when not said.
    #[serde(default)]
    pub(crate) secrets: Option<Vec<String>>,
}

/// Whether a VM runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, or boots, or hangs after a power-off.
    Running,
    /// Its CPUs stand still.
    Paused,
    /// Only its disk is there.
    Stopped,
}

impl State {
    /// The API's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Stopped => "Stopped",
        }
    }
}

impl Record {
    /// When it was made, in nanoseconds since the epoch.
    pub(crate) fn created_nanos(&self) -> i64 {
        time::nanos(self.created, self.created_fraction)
    }

    /// Keeps the record in the VM's directory.
    pub(crate) fn save(&self, directory: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        serde_json::to_writer(&mut file, self)?;
        // Userdata may hold whatever its author put there.
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(0o600))?;
        file.persist(directory.join("vm.json"))?;
        Ok(())
    }

    /// Every record that earlier daemons of these groups left behind.
    pub(crate) fn load_all(vms: &Path, groups: &[&str]) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(vms) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("vm.json")).ok())
            .filter_map(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|record| groups.contains(&record.group.as_str()))
            .collect()
    }
}
