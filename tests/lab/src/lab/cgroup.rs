//! Control groups: each machine has one of its own in every hierarchy, v1 and v2 alike.
//!
//! They serve twice: a machine sees nothing above its own, so that a kubelet (or a
//! machine within) finds a tree to write in; and whatever runs in a fleet can be
//! found there, however it was started and whatever became of its parent.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The lab's own directory under each hierarchy's root.
const OURS: &str = "slicer-k3s-lab";
/// What the lab as a whole gets of the processors beside other work, in each version's own unit: as much as sixteen others. With
/// the kernel's default all machines of all fleets together would get as much as one build.
const WEIGHTS: [(&str, &str); 2] = [("cpu.shares", "16384"), ("cpu.weight", "1600")];
/// Killed processes are gone in a moment; one that hangs in the kernel is worth a message.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine's path below each hierarchy's root.
pub(crate) fn path(fleet: &str, machine: &str) -> String {
    format!("{OURS}/{fleet}/{machine}")
}

/// Where what belongs to a machine, but does not run inside it, is kept.
pub(crate) fn around(fleet: &str, machine: &str) -> String {
    format!("{OURS}/{fleet}/{machine}/around")
}

/// Every hierarchy that the kernel offers here.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let found = in_mount_table(&table);
    if found.is_empty() {
        bail!("no cgroup hierarchy is mounted under /sys/fs/cgroup: mount cgroup2 there");
    }
    Ok(found)
}

fn in_mount_table(table: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else {
            continue;
        };
        let point = PathBuf::from(point);
        if kind.starts_with("cgroup")
            && point.starts_with("/sys/fs/cgroup")
            && !found.contains(&point)
        {
            found.push(point);
        }
    }
    found
}

/// Makes a machine's cgroups: one for the machine, one for what carries it.
pub(crate) fn make(fleet: &str, machine: &str) -> Result<()> {
    for root in hierarchies()? {
        let ours = child(&root, OURS)?;
        weigh(&ours)?;
        let parent = child(&child(&ours, fleet)?, machine)?;
        child(&parent, "around")?;
        child(&parent, "machine")?;
    }
    Ok(())
}

/// Sets the weight in whichever hierarchy has one.
fn weigh(directory: &Path) -> Result<()> {
    for (file, weight) in WEIGHTS {
        let file = directory.join(file);
        if file.exists() {
            std::fs::write(&file, weight)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

fn child(parent: &Path, name: &str) -> Result<PathBuf> {
    offer_controllers(parent);
    let directory = parent.join(name);
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the cgroup {}", directory.display()))?;
    // v1: an empty cpuset takes no process.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(value) = std::fs::read_to_string(parent.join(file))
            && std::fs::read_to_string(directory.join(file)).is_ok_and(|own| own.trim().is_empty())
        {
            std::fs::write(directory.join(file), value)?;
        }
    }
    Ok(directory)
}

/// v2: children get the controllers that their parent hands down.
fn offer_controllers(directory: &Path) {
    let Ok(offered) = std::fs::read_to_string(directory.join("cgroup.controllers")) else {
        return;
    };
    for controller in offered.split_whitespace() {
        // One at a time: a controller that cannot be handed down must not hold back the others.
        let _ = std::fs::write(
            directory.join("cgroup.subtree_control"),
            format!("+{controller}"),
        );
    }
}

/// Every process in a fleet's cgroups (or one machine's).
pub(crate) fn processes(below: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for root in hierarchies()? {
        for directory in tree(&root.join(below)) {
            let listed =
                std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    // A process of an outside PID namespace is listed as 0.
    found.retain(|process| *process > 0);
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Kills everything in the cgroups of a fleet (or one machine) and removes them.
pub(crate) fn clear(below: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let left = processes(below)?;
        if left.is_empty() {
            break;
        }
        for process in &left {
            if let Some(process) = Pid::from_raw(*process) {
                // It may have died since.
                let _ = kill_process(process, Signal::KILL);
            }
        }
        if start.elapsed() > PATIENCE {
            bail!("processes {left:?} survive SIGKILL: they hang in the kernel, see `dmesg`");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for root in hierarchies()? {
        for directory in tree(&root.join(below)).iter().rev() {
            remove(directory)?;
        }
        // Parents that nobody uses any more; the last one out removes them.
        let mut parent = Path::new(below).parent();
        while let Some(directory) = parent.filter(|path| path.starts_with(OURS)) {
            let _ = std::fs::remove_dir(root.join(directory));
            parent = directory.parent();
        }
    }
    Ok(())
}

/// All of a fleet.
pub(crate) fn fleet(fleet: &str) -> String {
    format!("{OURS}/{fleet}")
}

/// The kernel needs a moment after the last process before it lets go.
fn remove(directory: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match std::fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(5) => {
                return Err(error)
                    .with_context(|| format!("cannot remove the cgroup {}", directory.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// A directory and all below it, parents first.
fn tree(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(directory) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        todo.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        found.push(directory);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// v1 with named and unified hierarchies, as on a machine without systemd.
    #[test]
    fn hierarchies_are_found_on_v1() {
        let table = "\
30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
33 1 0:29 / /elsewhere/memory rw - cgroup cgroup rw,memory";
        assert_eq!(
            in_mount_table(table),
            [
                PathBuf::from("/sys/fs/cgroup/memory"),
                PathBuf::from("/sys/fs/cgroup/unified")
            ]
        );
    }

    /// v2, as on any recent desktop, with optional fields before the dash.
    #[test]
    fn hierarchies_are_found_on_v2() {
        let table = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 master:3 - cgroup2 cgroup2 rw";
        assert_eq!(in_mount_table(table), [PathBuf::from("/sys/fs/cgroup")]);
    }

    /// Else a build beside a fleet makes its machines miss their leases and time limits.
    #[test]
    fn the_lab_outweighs_other_work_where_the_kernel_weighs() {
        let hierarchy = tempfile::tempdir().unwrap();
        let shares = hierarchy.path().join("cpu.shares");
        std::fs::write(&shares, "1024").unwrap();
        weigh(hierarchy.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&shares).unwrap(), "16384");
        assert!(!hierarchy.path().join("cpu.weight").exists());
    }

    /// Fleet `a` must never be cleared together with fleet `ab`.
    #[test]
    fn fleets_do_not_share_a_directory() {
        assert!(!Path::new(&path("ab", "x")).starts_with(fleet("a")));
        assert!(Path::new(&path("a", "x")).starts_with(fleet("a")));
    }
}
