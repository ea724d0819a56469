//! What lies in a machine's file system before its first boot.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::disguise;
use crate::address;
use crate::fleet::Host;
use crate::state::{Machine, State};

/// The part that hosts and the workstation share.
pub(crate) fn common(upper: &Path, name: &str, address: Ipv4Addr) -> Result<()> {
    let at = |path: &str| upper.join(path);
    write(&at("etc/hostname"), format!("{name}\n"))?;
    write(
        &at("etc/hosts"),
        format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"),
    )?;
    write(
        &at("etc/resolv.conf"),
        format!("nameserver {}\n", address::INTERNET),
    )?;
    write(
        &at("etc/slicer-lab/network"),
        format!(
            "address={address}/{}\ngateway={}\n",
            address::PREFIX,
            address::INTERNET
        ),
    )
}

/// A host: its looks, its Slicer, its account.
pub(crate) fn host(
    upper: &Path,
    host: &Host,
    address: Ipv4Addr,
    variants: &[(String, String)],
    slicer: Option<&Path>,
) -> Result<()> {
    common(upper, &host.name, address)?;
    disguise::dress(upper, host)?;
    let variants: std::collections::BTreeMap<_, _> = variants.iter().cloned().collect();
    write(
        &upper.join("lab/variant.json"),
        serde_json::to_string(&variants)? + "\n",
    )?;
    if let Some(slicer) = slicer.filter(|_| host.slicer) {
        let target = upper.join("usr/local/bin/slicer");
        std::fs::copy(slicer, &target)
            .with_context(|| format!("cannot copy {}", slicer.display()))?;
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The workstation: a person's account with a key that the hosts know, and no host known yet.
pub(crate) fn workstation(
    upper: &Path,
    state: &State,
    machine: &Machine,
    key: &Path,
    public: &str,
) -> Result<String> {
    common(upper, &machine.name, machine.address)?;
    let mut hosts = String::new();
    for host in state.hosts() {
        hosts += &format!("{} {}\n", host.address, host.name);
    }
    let path = upper.join("etc/hosts");
    write(&path, std::fs::read_to_string(&path)? + &hosts)?;
    let user = &machine.user;
    let private = std::fs::read_to_string(key)?;
    Ok(setup(user, None, false, public)
        + &format!(
            "umask 077\n\
             cat >/home/{user}/.ssh/id_ed25519 <<'LAB'\n{private}LAB\n\
             echo '{public}' >/home/{user}/.ssh/id_ed25519.pub\n\
             chown {user}:{user} /home/{user}/.ssh/*\n"
        ))
}

/// The script that makes accounts with the machine's own tools, run once before the first boot.
pub(crate) fn setup(user: &str, password: Option<&str>, licence: bool, authorized: &str) -> String {
    let rule = if password.is_some() {
        "ALL"
    } else {
        "NOPASSWD: ALL"
    };
    let mut text = format!(
        "ssh-keygen -A >/dev/null\n\
         useradd --create-home --shell /bin/bash --groups sudo {user}\n\
         echo '{user} ALL=(ALL:ALL) {rule}' >/etc/sudoers.d/{user}\n\
         chmod 0440 /etc/sudoers.d/{user}\n\
         install -d -m 0700 -o {user} -g {user} /home/{user}/.ssh\n\
         echo '{authorized}' >/home/{user}/.ssh/authorized_keys\n\
         chmod 0600 /home/{user}/.ssh/authorized_keys\n\
         chown {user}:{user} /home/{user}/.ssh/authorized_keys\n"
    );
    if let Some(password) = password {
        text += &format!("chpasswd <<'LAB'\n{user}:{password}\nLAB\n");
    }
    if licence {
        text += &format!(
            "install -d -m 0700 -o {user} -g {user} /home/{user}/.slicer\n\
             echo lab-licence >/home/{user}/.slicer/LICENSE\n\
             chown {user}:{user} /home/{user}/.slicer/LICENSE\n"
        );
    }
    text
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let directory = path.parent().context("a file without a directory")?;
    std::fs::create_dir_all(directory)?;
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a script.
pub(crate) fn executable(path: &Path, content: &str) -> Result<()> {
    write(path, content)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
