//! What lies in a machine's file system before its first boot.

// Writing to a String cannot fail; the results of `write!` are dropped.
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{disguise, networking};
use crate::address;
use crate::fleet::{Daemon, Fleet, Host, Shell};
use crate::state::Machine;

/// The part that hosts and the workstation share.
fn common(upper: &Path, name: &str, neighbours: &str) -> Result<()> {
    let at = |path: &str| upper.join(path);
    write(&at("etc/hostname"), format!("{name}\n"))?;
    write(
        &at("etc/hosts"),
        format!("127.0.0.1 localhost\n127.0.1.1 {name}\n{neighbours}"),
    )?;
    write(
        &at("etc/resolv.conf"),
        format!("nameserver {}\n", address::INTERNET),
    )
}

/// Lines of `/etc/hosts`.
fn known<'a>(fleet: &Fleet, hosts: impl Iterator<Item = &'a Host>) -> String {
    hosts
        .filter_map(|host| Some(format!("{} {}\n", fleet.address(host)?, host.name)))
        .collect()
}

/// A host: its looks, its network and its Slicer.
pub(crate) fn host(
    upper: &Path,
    fleet: &Fleet,
    host: &Host,
    variants: &[(String, String)],
    slicer: &Path,
) -> Result<()> {
    // A router knows by name who is behind it; nobody else has a way there.
    common(upper, &host.name, &known(fleet, fleet.behind(&host.name)))?;
    let address = fleet.address(host).context("the host has no address")?;
    networking::write(upper, address, host.network, fleet.routes(&host.name))?;
    disguise::dress(upper, host)?;
    if let Some(language) = &host.language {
        // pam_env reads it at every login.
        write(
            &upper.join("etc/default/locale"),
            format!("LANG={language}\n"),
        )?;
    }
    let variants: std::collections::BTreeMap<_, _> = variants.iter().cloned().collect();
    write(
        &upper.join("lab/variant.json"),
        serde_json::to_string(&variants)? + "\n",
    )?;
    if host.slicer {
        // What its installer leaves behind.
        write(
            &upper.join("etc/sysctl.d/99-slicer.conf"),
            "net.ipv4.ip_forward=1\nnet.ipv4.conf.all.forwarding=1\n",
        )?;
        // A marker, as the stand-in's installer leaves one: whether it is there tells whether that came to its end.
        executable(
            &upper.join("usr/local/bin/firecracker"),
            "#!/bin/sh\necho 'firecracker: a marker of the lab' >&2\nexit 1\n",
        )?;
        let target = upper.join("usr/local/bin/slicer");
        std::fs::create_dir_all(upper.join("usr/local/bin"))?;
        std::fs::copy(slicer, &target)
            .with_context(|| format!("cannot copy {}", slicer.display()))?;
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The script that makes a host's account, run once before the first boot.
pub(crate) fn host_setup(host: &Host, authorized: &str) -> String {
    let user = &host.user;
    let password = host.sudo_password.as_deref();
    let mut text = account(user, host.shell, password, authorized);
    text.push_str(networking::setup(host.network));
    if host.slicer {
        let _ = write!(
            text,
            "groupadd --system slicer\n\
             install -d -m 0750 -g slicer /var/lib/slicer /var/lib/slicer/auth\n\
             install -d -m 0700 -o {user} -g {user} /home/{user}/.slicer\n\
             echo lab-licence >/home/{user}/.slicer/LICENSE\n\
             chown {user}:{user} /home/{user}/.slicer/LICENSE\n"
        );
    }
    text
}

/// The workstation: a person's account with a key that the hosts know, and no host known yet.
pub(crate) fn workstation(
    upper: &Path,
    fleet: &Fleet,
    machine: &Machine,
    key: &Path,
    public: &str,
) -> Result<String> {
    let reached = fleet.hosts.iter().filter(|host| host.behind.is_none());
    common(upper, &machine.name, &known(fleet, reached))?;
    networking::write(upper, machine.address, Daemon::Lab, None)?;
    // What a person would have fetched: on no PATH, since the product must do without.
    std::fs::create_dir_all(upper.join("lab/bin"))?;
    for (name, program) in [("kubectl", "k3s"), ("helm", "helm")] {
        std::os::unix::fs::symlink(format!("../go/{program}"), upper.join("lab/bin").join(name))?;
    }
    let user = &machine.user;
    let private = std::fs::read_to_string(key)?;
    let config = match through_routers(fleet) {
        entries if entries.is_empty() => entries,
        entries => format!("cat >/home/{user}/.ssh/config <<'LAB'\n{entries}LAB\n"),
    };
    Ok(account(user, Shell::Bash, None, public)
        + &format!(
            "umask 077\n\
             cat >/home/{user}/.ssh/id_ed25519 <<'LAB'\n{private}LAB\n\
             echo '{public}' >/home/{user}/.ssh/id_ed25519.pub\n\
             {config}chown {user}:{user} /home/{user}/.ssh/*\n"
        ))
}

/// How OpenSSH is told the way to hosts that the LAN does not reach.
fn through_routers(fleet: &Fleet) -> String {
    let mut text = String::new();
    for host in &fleet.hosts {
        let router = fleet
            .hosts
            .iter()
            .find(|other| host.behind.as_ref() == Some(&other.name));
        if let (Some(router), Some(address)) = (router, fleet.address(host)) {
            let _ = writeln!(
                text,
                "Host {}\n    HostName {address}\n    User {}\n    ProxyJump {}@{}",
                host.name, host.user, router.user, router.name
            );
        }
    }
    text
}

/// An account and host keys (no RSA: finding primes takes longer than the boot), made with the machine's own tools.
fn account(user: &str, shell: Shell, password: Option<&str>, authorized: &str) -> String {
    let rule = if password.is_some() {
        "ALL"
    } else {
        "NOPASSWD: ALL"
    };
    let shell = shell.path();
    let mut text = format!(
        "ssh-keygen -q -N '' -t ed25519 -f /etc/ssh/ssh_host_ed25519_key\n\
         ssh-keygen -q -N '' -t ecdsa -f /etc/ssh/ssh_host_ecdsa_key\n\
         useradd --create-home --shell {shell} --groups sudo {user}\n\
         echo '{user} ALL=(ALL:ALL) {rule}' >/etc/sudoers.d/{user}\n\
         chmod 0440 /etc/sudoers.d/{user}\n\
         install -d -m 0700 -o {user} -g {user} /home/{user}/.ssh\n\
         echo '{authorized}' >/home/{user}/.ssh/authorized_keys\n\
         chmod 0600 /home/{user}/.ssh/authorized_keys\n\
         chown {user}:{user} /home/{user}/.ssh/authorized_keys\n"
    );
    if let Some(password) = password {
        let _ = write!(text, "chpasswd <<'LAB'\n{user}:{password}\nLAB\n");
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
