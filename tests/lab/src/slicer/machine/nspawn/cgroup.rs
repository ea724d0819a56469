//! A VM's own cgroups: one of every controller, so that a kubelet in it sees only its own tree.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::tool;

const MOUNT: &str = "/sys/fs/cgroup";
const PARENT: &str = "slicer-lab";
/// How long killed processes may take to go.
const LIMIT: Duration = Duration::from_secs(10);

/// A shell script: joins the colon-separated cgroups of `$1`, then becomes the rest.
pub(crate) const JOIN: &str = r#"IFS=:; for dir in $1; do echo $$ > "$dir/cgroup.procs" || exit 1; done; unset IFS; shift; exec "$@""#;

/// Whether the host has one tree for all controllers (cgroup v2).
fn unified() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

/// The roots of all trees.
fn trees() -> Vec<PathBuf> {
    if unified() {
        return vec![MOUNT.into()];
    }
    let Ok(entries) = fs::read_dir(MOUNT) else {
        return Vec::new();
    };
    entries
        .flatten()
        // `cpu` and `cpuacct` are often links to one tree.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect()
}

fn directories(hostname: &str) -> Vec<PathBuf> {
    trees()
        .into_iter()
        .map(|tree| tree.join(PARENT).join(hostname))
        .collect()
}

/// The host's nspawn mounted its trees read-only: VMs need their own below.
pub(crate) async fn writable() -> Result<()> {
    for tree in trees() {
        let probe = tree.join(PARENT);
        match fs::create_dir(&probe) {
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                let path = tree.display().to_string();
                tool::run("mount", &["-o", "remount,bind,rw", &path]).await?;
                fs::create_dir_all(&probe)
                    .with_context(|| format!("create {}", probe.display()))?;
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("create {}", probe.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes a VM's cgroups, limits its memory, and gives their directories.
pub(crate) fn make(hostname: &str, ram_bytes: u64) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for directory in directories(hostname) {
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        // An empty cpuset admits nobody.
        for level in [directory.parent(), Some(&directory)].into_iter().flatten() {
            inherit(level, "cpuset.cpus");
            inherit(level, "cpuset.mems");
        }
        let limit = if unified() {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        if directory.join(limit).exists() {
            // A host that does not delegate memory runs VMs without a limit.
            let _ = fs::write(directory.join(limit), ram_bytes.to_string());
        }
        made.push(directory.display().to_string());
    }
    Ok(made)
}

fn inherit(level: &Path, file: &str) {
    let Some(parent) = level.parent() else { return };
    let empty = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.trim().is_empty());
    if !unified()
        && empty(&level.join(file))
        && let Ok(value) = fs::read_to_string(parent.join(file))
    {
        let _ = fs::write(level.join(file), value);
    }
}

/// The cgroups that a command run in a VM has to join; none where inner processes are forbidden (v2).
pub(crate) fn joined(hostname: &str) -> Vec<String> {
    if unified() {
        return Vec::new();
    }
    directories(hostname)
        .iter()
        .filter(|directory| directory.exists())
        .map(|directory| directory.display().to_string())
        .collect()
}

/// Kills everything in a VM's cgroups and removes them.
pub(crate) async fn kill(hostname: &str) -> Result<()> {
    let directories = directories(hostname);
    if directories.iter().any(|directory| directory.exists()) {
        let _ = freeze(hostname, false);
    }
    let end = Instant::now() + LIMIT;
    loop {
        let mut left: Vec<i32> = directories
            .iter()
            .flat_map(|directory| members(directory))
            .collect();
        left.sort_unstable();
        left.dedup();
        for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if left.is_empty() && directories.iter().all(|directory| remove(directory)) {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("{hostname}: processes {left:?} cannot be killed, or its cgroups not removed");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn members(directory: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = fs::read_to_string(directory.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in children(directory) {
        pids.extend(members(&child));
    }
    pids
}

fn remove(directory: &Path) -> bool {
    children(directory).iter().all(|child| remove(child))
        && match fs::remove_dir(directory) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Stops or continues everything in a VM.
pub(crate) fn freeze(hostname: &str, frozen: bool) -> Result<()> {
    let (path, word) = if unified() {
        (
            format!("{MOUNT}/{PARENT}/{hostname}/cgroup.freeze"),
            if frozen { "1" } else { "0" },
        )
    } else {
        let word = if frozen { "FROZEN" } else { "THAWED" };
        (
            format!("{MOUNT}/freezer/{PARENT}/{hostname}/freezer.state"),
            word,
        )
    };
    fs::write(&path, word).with_context(|| format!("write {path}"))
}
