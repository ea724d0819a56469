//! The machines that an import looks at: those of the command line, else those of cluster.toml.

use std::sync::Arc;

use futures_util::future::join_all;

use super::super::context::key_policy;
use crate::cli::{Global, Import};
use crate::commands::context;
use crate::config::{self, Config, Ssh};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet;
use crate::remote::Machine;

/// A machine that answered.
pub(super) struct Host {
    /// The name that was asked for, if any.
    pub(super) name: Option<String>,
    /// How it is reached, with a port where one is given.
    pub(super) ssh: String,
    /// The local file with sudo's password.
    pub(super) sudo_password_file: Option<String>,
    /// Its connection.
    pub(super) machine: Arc<Machine>,
    /// What was seen.
    pub(super) facts: HostFacts,
}

/// All of them.
pub(super) struct Reached {
    /// cluster.toml, where the hosts are its.
    pub(super) config: Option<Config>,
    /// Those that answered.
    pub(super) hosts: Vec<Host>,
    /// Those that did not, by name, with the reason.
    pub(super) absent: Vec<(String, String)>,
}

/// Connects to every machine and looks at it.
pub(super) async fn reach(global: &Global, options: &Import) -> Result<Reached, Failures> {
    let mut words = options.targets.iter().peekable();
    let config = match words.peek() {
        Some(_) => None,
        None if global.config.exists() => Some(context::load(global)?),
        None => {
            return Err(
                Failure::new(Code::Config, "which machines does the cluster run on?")
                    .because(format!("there is no {}", global.config.display()))
                    .hint("slicer-k3s import alex@192.168.1.11 pi@192.168.1.13")
                    .into(),
            );
        }
    };
    let mut wanted: Vec<(Option<String>, config::Host)> = match &config {
        Some(config) => {
            let hosts = config.hosts.iter();
            hosts
                .map(|host| (Some(host.name.clone()), host.clone()))
                .collect()
        }
        None => words.map(|word| target(word)).collect::<Result<_>>()?,
    };
    passwords(&mut wanted, options)?;
    let policy = key_policy(global);
    let tried = join_all(wanted.iter().map(|(_, host)| async {
        let machine = fleet::one(host, &policy).await?;
        let facts = fleet::facts(&machine).await?;
        Ok::<_, Failure>((machine, facts))
    }));
    let (mut hosts, mut absent, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for ((name, host), result) in wanted.iter().zip(tried.await) {
        match result {
            Ok((machine, facts)) => hosts.push(Host {
                name: name.clone(),
                ssh: typed(host),
                sudo_password_file: host.sudo_password_file.clone(),
                machine: Arc::new(machine),
                facts,
            }),
            Err(failure) => {
                absent.push((host.name.clone(), failure.to_string()));
                failures.push(failure);
            }
        }
    }
    if hosts.is_empty() || !(failures.is_empty() || options.partial) {
        return Err(failures);
    }
    Ok(Reached {
        config,
        hosts,
        absent,
    })
}

/// A host's `ssh` and `port` as one text, as [`config::split_port`] takes it apart.
fn typed(host: &config::Host) -> String {
    match (&host.ssh, host.port) {
        (Ssh::Local, _) => "local".to_owned(),
        (Ssh::Target(target), None) => target.clone(),
        (Ssh::Target(target), Some(port)) => {
            let (user, address) = target.rsplit_once('@').unwrap_or(("", target));
            let at = if user.is_empty() { "" } else { "@" };
            if address.contains(':') && !address.starts_with('[') {
                format!("{user}{at}[{address}]:{port}")
            } else {
                format!("{target}:{port}")
            }
        }
    }
}

/// `[NAME=]USER@ADDRESS[:PORT]`; without a name, messages call the machine by its address.
fn target(word: &str) -> Result<(Option<String>, config::Host)> {
    let (name, ssh) = match word.split_once('=') {
        Some((name, ssh)) => (Some(name.to_owned()), ssh),
        None => (None, word),
    };
    let wrong = |(why, _): config::Complaint| {
        Failure::new(Code::Config, format!("{word}: it {why}"))
            .hint("slicer-k3s import alex@192.168.1.11 pi5=pi@192.168.1.13")
    };
    if let Some(name) = &name {
        config::check_name(name).map_err(wrong)?;
    }
    let (ssh, port) = config::split_port(ssh);
    config::check_ssh(ssh).map_err(wrong)?;
    let called = name.clone().unwrap_or_else(|| ssh.to_owned());
    let mut host = config::Host::new(&called, Ssh::of(ssh));
    host.port = port;
    Ok((name, host))
}

fn passwords(wanted: &mut [(Option<String>, config::Host)], options: &Import) -> Result<()> {
    for word in &options.sudo_password_files {
        let found = word.split_once('=').and_then(|(name, file)| {
            let mut hosts = wanted.iter_mut();
            let (_, host) = hosts.find(|(_, host)| host.name == name)?;
            Some((host, file))
        });
        let Some((host, file)) = found else {
            return Err(Failure::new(
                Code::Config,
                format!("--sudo-password-file {word} names no host"),
            )
            .hint(
                "--sudo-password-file NAME=FILE, by the name or target that the host is given here",
            ));
        };
        host.sudo_password_file = Some(file.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_may_have_a_name() {
        let (name, host) = target("pi5=pi@192.168.1.13").unwrap();
        assert_eq!((name.as_deref(), host.name.as_str()), (Some("pi5"), "pi5"));
        let (name, host) = target("pi@192.168.1.13").unwrap();
        assert_eq!((name, host.name.as_str()), (None, "pi@192.168.1.13"));
        assert!(target("a b=pi@x").is_err());
    }

    #[test]
    fn a_target_may_have_a_port_and_keeps_it() {
        let (_, host) = target("pi5=pi@192.168.1.13:2222").unwrap();
        assert_eq!(host.port, Some(2222));
        for text in [
            "pi@192.168.1.13:2222",
            "pi@192.168.1.13",
            "pi@[fe80::1]:22",
            "local",
        ] {
            assert_eq!(typed(&target(text).unwrap().1), text);
        }
        let (_, mut host) = target("fe80::1").unwrap();
        host.port = Some(22);
        assert_eq!(typed(&host), "[fe80::1]:22");
    }
}
