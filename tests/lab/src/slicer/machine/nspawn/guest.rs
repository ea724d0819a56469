//! What a VM's file system is given before its first boot: user, keys, names, and a few units.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{daemon::token, host::variant::Variant, machine::Launch};

/// The guest's user.
pub(crate) const USER: &str = "ubuntu";
/// That user's home.
pub(crate) const HOME: &str = "/home/ubuntu";
/// Touched when the agent starts.
pub(crate) const STARTED: &str = "/run/slicer/agent-started";
/// Holds the exit code of the first boot's script.
pub(crate) const USERDATA_RAN: &str = "/etc/slicer/userdata-ran";
/// Where the daemon's seed is bound: secrets and userdata.
pub(crate) const SEED: &str = "/var/lib/slicer-seed";

const UNITS: [(&str, &str); 5] = [
    (
        "slicer-agent.service",
        include_str!("guest/slicer-agent.service"),
    ),
    (
        "regen-ssh-host-keys.service",
        include_str!("guest/regen-ssh-host-keys.service"),
    ),
    (
        "import-github-keys.service",
        include_str!("guest/import-github-keys.service"),
    ),
    (
        "slicer-userdata.service",
        include_str!("guest/slicer-userdata.service"),
    ),
    (
        "slicer-console.service",
        include_str!("guest/slicer-console.service"),
    ),
];

/// Bookkeeping that costs a third of the boot's time and that nobody in a VM reads.
const MASKED: [&str; 3] = [
    "systemd-sysusers.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
];

/// Prepares a new disk, mounted at `root`.
pub(crate) fn prepare(root: &Path, launch: &Launch, variant: &Variant) -> Result<()> {
    let hostname = &launch.record.hostname;
    put(root, "etc/hostname", &format!("{hostname}\n"), 0o644)?;
    put(
        root,
        "etc/hosts",
        &format!("127.0.0.1 localhost\n127.0.1.1 {hostname}\n::1 localhost\n"),
        0o644,
    )?;
    put(
        root,
        "etc/machine-id",
        &format!("{}\n", token::random(16)?),
        0o444,
    )?;
    let servers = format!(
        "nameserver {}\n",
        launch.group.dns_servers.join("\nnameserver ")
    );
    put(root, "etc/resolv.conf", &servers, 0o644)?;
    user(root, launch)?;
    put(
        root,
        "usr/local/bin/slicer-agent",
        include_str!("guest/slicer-agent.sh"),
        0o755,
    )?;
    put(
        root,
        "usr/local/lib/slicer-agent/userdata",
        include_str!("guest/userdata.sh"),
        0o755,
    )?;
    let regen = include_str!("guest/regen-ssh-host-keys.sh");
    put(
        root,
        "usr/local/lib/slicer-agent/regen-ssh-host-keys",
        regen,
        0o755,
    )?;
    let mode = format!(
        "BLANK_LINE={}\nWITHOUT={}\nHOST_KEYS={}\n",
        variant.get("userdata-blank-line").unwrap_or("tolerated"),
        variant.get("no-userdata").unwrap_or("ran"),
        variant.get("host-keys").unwrap_or("made")
    );
    put(root, "etc/slicer/variant", &mode, 0o644)?;
    if let Some(phase) = variant.get("promote-phase") {
        // Read by k3s's unit, however k3s comes here: a benchmark repeats its luck.
        let line = format!("K3S_LAB_PROMOTE_PHASE={phase}\n");
        put(root, "etc/default/k3s", &line, 0o644)?;
    }
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    for (name, text) in UNITS {
        put(root, &format!("etc/systemd/system/{name}"), text, 0o644)?;
        symlink(format!("/etc/systemd/system/{name}"), wants.join(name))
            .with_context(|| format!("enable {name}"))?;
    }
    for name in MASKED {
        symlink("/dev/null", root.join("etc/systemd/system").join(name))
            .with_context(|| format!("mask {name}"))?;
    }
    Ok(())
}

/// The seed of a boot: userdata beside the secrets that the daemon has put there.
pub(crate) fn seed(directory: &Path, userdata: Option<&str>) -> Result<()> {
    let seed = directory.join("seed");
    fs::create_dir_all(&seed)?;
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o700))?;
    put(&seed, "userdata", userdata.unwrap_or_default(), 0o600)
}

fn user(root: &Path, launch: &Launch) -> Result<()> {
    add_line(
        root,
        "etc/passwd",
        &format!("{USER}:x:1000:1000:Ubuntu:{HOME}:/bin/bash"),
    )?;
    add_line(root, "etc/group", &format!("{USER}:x:1000:"))?;
    add_line(root, "etc/shadow", &format!("{USER}:*:19000:0:99999:7:::"))?;
    put(
        root,
        "etc/sudoers.d/90-ubuntu",
        &format!("{USER} ALL=(ALL) NOPASSWD:ALL\n"),
        0o440,
    )?;
    let home = HOME.trim_start_matches('/');
    for name in [".bashrc", ".profile"] {
        if let Ok(text) = fs::read_to_string(root.join("etc/skel").join(name)) {
            put(root, &format!("{home}/{name}"), &text, 0o644)?;
            chown(root.join(home).join(name), Some(1000), Some(1000))?;
        }
    }
    if let Some(user) = &launch.import_user {
        put(root, "etc/slicer/github-user", &format!("{user}\n"), 0o644)?;
    }
    let keys: Vec<&str> = launch.ssh_keys.iter().map(|key| key.trim()).collect();
    let keys = keys.join("\n") + "\n";
    put(root, &format!("{home}/.ssh/authorized_keys"), &keys, 0o600)?;
    for (path, mode) in [(home.to_owned(), 0o755), (format!("{home}/.ssh"), 0o700)] {
        let path = root.join(path);
        chown(&path, Some(1000), Some(1000))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    chown(
        root.join(home).join(".ssh/authorized_keys"),
        Some(1000),
        Some(1000),
    )?;
    Ok(())
}

fn add_line(root: &Path, file: &str, line: &str) -> Result<()> {
    let path = root.join(file);
    let mut text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let name = line.split(':').next().unwrap_or_default();
    if text
        .lines()
        .any(|line| line.split(':').next() == Some(name))
    {
        return Ok(());
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Writes a file anew: a link that lies under the name is removed, not followed.
fn put(root: &Path, name: &str, text: &str, mode: u32) -> Result<()> {
    let path = root.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _ = fs::remove_file(&path);
    fs::write(&path, text)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
        .with_context(|| format!("write {}", path.display()))
}
