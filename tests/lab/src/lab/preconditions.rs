//! What the lab needs of the machine it runs on: one sentence with the remedy for each thing missing.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::exec::{exists, visible};
use crate::place::Place;
use crate::say;

/// Set when root was reached through sudo: the caller has built what there was to build.
const PREPARED: &str = "LAB_PREPARED";
/// A fleet's caches take about 4 GB, its machines' disks a few more.
const LEAST_DISK_GB: u64 = 10;
/// File systems that cannot carry an overlay's upper layer.
const OVERLAYFS: i64 = 0x794c_7630;
/// Programs that come from Debian packages that a machine often lacks.
const PACKAGES: [(&str, &str); 7] = [
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("ssh-keygen", "openssh-client"),
];

/// Whether an earlier call of this program, as the user, has already built things.
pub(crate) fn prepared() -> bool {
    std::env::var_os(PREPARED).is_some()
}

/// The administrator's programs are not on everybody's PATH, and on Debian not even on that of a root by plain `su`.
fn with_sbin(path: &OsStr) -> OsString {
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let known: Vec<PathBuf> = std::env::split_paths(path).collect();
    let missing = more
        .into_iter()
        .filter(|directory| !known.contains(directory));
    let all = known.iter().cloned().chain(missing);
    std::env::join_paths(all).unwrap_or_else(|_| path.to_owned())
}

/// Starts over as root, with the administrator's programs at hand, where it is not so already.
pub(crate) fn become_root(place: &Place) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let full = with_sbin(&path);
    if rustix::process::geteuid().is_root() {
        if full == path {
            return Ok(());
        }
        let mut again = Command::new(std::env::current_exe()?);
        let error = again
            .args(std::env::args_os().skip(1))
            .env("PATH", full)
            .exec();
        return Err(error).context("cannot start over with /usr/sbin on PATH");
    }
    if prepared() || !exists("sudo") {
        bail!("the lab makes namespaces and mounts: run it as root");
    }
    let environment = |name: &str, value: &OsStr| {
        let mut pair = OsString::from(format!("{name}="));
        pair.push(value);
        pair
    };
    // Returns only when sudo could not be started; sudo itself says why it refuses.
    let error = Command::new("sudo")
        .arg("env")
        .arg(environment("LAB_CACHE", place.cache.as_os_str()))
        .arg(environment("PATH", &full))
        .arg(format!("{PREPARED}=1"))
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .exec();
    Err(error).context("cannot start sudo: run the lab as root")
}

/// What must be there before anything is built.
pub(crate) fn before_building(place: &Place, with_kubernetes: bool) -> Result<()> {
    if with_kubernetes && !exists("go") {
        bail!(
            "Go is missing (it builds the real Kubernetes): install it from your distribution or go.dev and put `go` on PATH"
        );
    }
    let disk = rustix::fs::statvfs(&place.cache)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 30;
    if free < LEAST_DISK_GB {
        bail!(
            "{} has {free} GB free, the lab needs {LEAST_DISK_GB}: make room or set LAB_CACHE to a directory elsewhere",
            place.cache.display()
        );
    }
    Ok(())
}

/// What must be there before machines are made.
pub(crate) fn before_machines(place: &Place) -> Result<()> {
    if rustix::fs::statfs(&place.cache)?.f_type as i64 == OVERLAYFS {
        bail!(
            "{} lies on an overlay (a container's own root?), which cannot carry another: set LAB_CACHE to a directory of a real file system",
            place.cache.display()
        );
    }
    crate::cgroup::hierarchies()?;
    install_packages()
}

fn install_packages() -> Result<()> {
    let missing: Vec<(&str, &str)> = PACKAGES
        .into_iter()
        .filter(|(program, _)| !exists(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if !exists("apt-get") {
        let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
        bail!(
            "{} missing: install what your distribution calls {}",
            programs.join(", "),
            packages.join(", ")
        );
    }
    say::timed(
        &format!("installing {} with apt-get", packages.join(", ")),
        "machines are made with them",
        || {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
                .args(["install", "--yes", "--quiet", "--no-install-recommends"])
                .args(&packages);
            visible(&mut command).context("try `sudo apt-get update` first")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Debian user's PATH has no /usr/sbin, and machines could not be made without its `chroot`.
    #[test]
    fn the_administrators_directories_come_last_and_once() {
        let full = with_sbin(OsStr::new("/usr/bin:/sbin"));
        assert_eq!(full, "/usr/bin:/sbin:/usr/local/sbin:/usr/sbin");
        assert_eq!(with_sbin(&full), full);
    }
}
