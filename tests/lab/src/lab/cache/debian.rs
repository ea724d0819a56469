//! The Debian root that every machine is an overlay over: hosts, VMs, the workstation.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Key, keyed};
use crate::exec::{command, output};
use crate::place::Place;

/// What is installed in it; the README lists the same.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,iptables,nftables,\
curl,ca-certificates,procps,kmod,systemd-container,iputils-ping,conntrack,ethtool,socat,containerd,\
runc,containernetworking-plugins,busybox-static,jq,less,network-manager,libpam-systemd,ifupdown,\
fish,tcsh,zsh,locales";
/// Debian's release.
const RELEASE: &str = "bookworm";
/// The language that hosts may speak besides English; programs speak it where a host's file says so.
const LANGUAGE: &str = "de_DE";
/// Units that no lab machine needs: consoles, and what would use processor time or
/// inotify instances for nothing. containerd is k3s's and Slicer's own business.
const MASKED: [&str; 18] = [
    "console-getty.service",
    "getty@tty1.service",
    "systemd-logind.service",
    "containerd.service",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "systemd-pstore.service",
    // The real kernel's own affairs.
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "modprobe@configfs.service",
    "modprobe@dm_mod.service",
    "modprobe@fuse.service",
    "modprobe@loop.service",
];
/// What Debian starts on its own and only some hosts shall: each host enables the one that
/// configures its network. systemd-networkd is the third; Debian leaves it off.
const OFF: [&str; 2] = ["NetworkManager.service", "networking.service"];
/// Sysctls that a kubelet would write and that belong to the whole kernel. A kubelet
/// that reads the value it wants writes nothing.
const SYSCTLS: [(&str, &str); 5] = [
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
const PREPARE: &str = include_str!("root/prepare.sh");
const UNIT: &str = include_str!("root/slicer-lab.service");

/// The root, built when there is none for these inputs.
pub(crate) fn root(place: &Place, authority: &Path) -> Result<PathBuf> {
    let authority = std::fs::read(authority.join("ca.pem"))
        .context("the lab's certificate authority is missing")?;
    let plain = Key::new()
        .with("release", RELEASE)
        .with("packages", PACKAGES)
        .finish();
    let key = Key::new()
        .with("plain", &plain)
        .with("recipe", "5")
        .with("language", LANGUAGE)
        .with("masked", MASKED.join(" "))
        .with("off", OFF.join(" "))
        .with("sysctls", format!("{SYSCTLS:?}"))
        .with("prepare", PREPARE)
        .with("unit", UNIT)
        .with("authority", &authority)
        .finish();
    let shelf = place.cache.join("root");
    keyed(&shelf, &key, "the machines' root file system", |draft| {
        // Two steps: the slow download does not depend on the lab's own few files.
        let plain = keyed(
            &place.cache.join("debian"),
            &plain,
            "Debian packages (about 80 s)",
            |draft| {
                let include = format!("--include={PACKAGES}");
                let draft = draft.to_string_lossy();
                let arguments = ["--variant=minbase", &include, RELEASE, &draft];
                output(&mut command("debootstrap", &arguments)).map(drop)
            },
        )?;
        let from = format!("{}/.", plain.display());
        output(&mut command(
            "cp",
            &["-a", "--reflink=auto", &from, &draft.to_string_lossy()],
        ))?;
        furnish(draft, &authority)
    })
}

/// Makes a plain Debian a lab machine.
fn furnish(root: &Path, authority: &[u8]) -> Result<()> {
    let at = |path: &str| root.join(path);
    for unit in MASKED {
        std::fs::remove_file(at("etc/systemd/system").join(unit)).ok();
        std::os::unix::fs::symlink("/dev/null", at("etc/systemd/system").join(unit))?;
    }
    let top = root.to_string_lossy();
    let mut disable = vec![&*top, "systemctl", "--quiet", "disable"];
    disable.extend(OFF);
    output(&mut command("chroot", &disable))?;
    let locale = format!("{LANGUAGE}.UTF-8");
    let make = ["localedef", "-i", LANGUAGE, "-f", "UTF-8", &locale];
    output(&mut command("chroot", &[&[&*top][..], &make[..]].concat()))?;
    // Every machine makes its own identity.
    std::fs::write(at("etc/machine-id"), "")?;
    // systemd would take every machine's identity from here.
    std::fs::remove_file(at("var/lib/dbus/machine-id")).ok();
    std::os::unix::fs::symlink("/etc/machine-id", at("var/lib/dbus/machine-id"))?;
    // debootstrap copies this from the machine that it runs on.
    std::fs::remove_file(at("etc/hostname")).ok();
    for entry in std::fs::read_dir(at("etc/ssh"))? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_"))
        {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::create_dir_all(at("usr/lib/slicer-lab"))?;
    std::fs::write(at("usr/lib/slicer-lab/prepare"), PREPARE)?;
    std::fs::set_permissions(
        at("usr/lib/slicer-lab/prepare"),
        std::fs::Permissions::from_mode(0o755),
    )?;
    std::fs::write(at("etc/systemd/system/slicer-lab.service"), UNIT)?;
    std::os::unix::fs::symlink(
        "../slicer-lab.service",
        at("etc/systemd/system/sysinit.target.wants/slicer-lab.service"),
    )?;
    for (name, value) in SYSCTLS {
        let path = at("etc/slicer-lab/over/proc/sys").join(name);
        std::fs::create_dir_all(path.parent().context("a sysctl has a directory")?)?;
        std::fs::write(path, format!("{value}\n"))?;
    }
    // Mount points that the README promises.
    for directory in ["lab/root", "lab/data", "lab/faults"] {
        std::fs::create_dir_all(at(directory))?;
    }
    std::fs::write(at("etc/resolv.conf"), "nameserver 192.168.1.1\n")?;
    std::fs::write(
        at("usr/local/share/ca-certificates/slicer-k3s-lab.crt"),
        authority,
    )?;
    output(&mut command("chroot", &[&top, "update-ca-certificates"])).map(drop)
}
