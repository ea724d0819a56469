//! Where to connect, as whom, with which keys: the user's own SSH configuration, read by `ssh -G`.
//!
//! Asking OpenSSH itself gives its exact semantics (Include, Match, defaults) without a parser of ours. Where no `ssh`
//! is installed, what cluster.toml says and OpenSSH's defaults count.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::target::{HostTarget, Surroundings};
use crate::failure::{Code, Failure, Result};

/// One machine on the way, and the last: the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// Its name on the network.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// Whom to log in as.
    pub(super) user: String,
    /// The key file that cluster.toml names.
    pub(super) key_file: Option<PathBuf>,
    /// Key files to try, in order.
    pub(super) identities: Vec<PathBuf>,
    /// Certificates beside those next to the keys.
    pub(super) certificates: Vec<PathBuf>,
    /// Only keys of `identities`, even from the agent.
    pub(super) identities_only: bool,
    /// The agent's socket.
    pub(super) agent: Option<PathBuf>,
    /// `HostKeyAlias`.
    pub(super) alias: Option<String>,
    /// `HashKnownHosts`: Debian's default.
    pub(super) hashes: bool,
    /// The user's known_hosts files.
    pub(super) user_known_hosts: Vec<PathBuf>,
    /// The system's.
    pub(super) global_known_hosts: Vec<PathBuf>,
}

/// A chain of jump hosts longer than this is a loop in the configuration.
const MOST_HOPS: usize = 8;

/// The machines on the way to `target`, in the order in which they are connected.
pub(super) async fn resolve(target: &HostTarget, around: &Surroundings) -> Result<Vec<Hop>> {
    let mut destination = Destination::parse(&target.target).ok_or_else(|| {
        bad(
            target,
            format!("\"{}\" is not [user@]host[:port]", target.target),
        )
    })?;
    destination.port = target.port.or(destination.port);
    let key = target
        .key_file
        .as_deref()
        .map(|file| expand(file, &around.home));
    let mut hops = Vec::new();
    let mut jump = target.jump.clone();
    loop {
        let answers = ask_ssh(
            target,
            &destination,
            key.as_deref().filter(|_| hops.is_empty()),
            around,
        )
        .await?;
        let (hop, configured) = Hop::new(target, &destination, answers, around)?;
        hops.push(hop);
        if hops.len() > MOST_HOPS {
            return Err(bad(target, "its jump hosts lead in a circle".to_owned()));
        }
        if hops.len() == 1
            && let (Some(hop), Some(key)) = (hops.first_mut(), &key)
        {
            hop.identities.retain(|file| file != key);
            hop.identities.insert(0, key.clone());
            hop.key_file = Some(key.clone());
        }
        // The first jump host's own configuration may name another before it; those of a chain follow the chain.
        let Some(chain) = jump.take().or(configured) else {
            break;
        };
        let (before, last) = match chain.rsplit_once(',') {
            Some((before, last)) => (Some(before.to_owned()), last.to_owned()),
            None => (None, chain),
        };
        destination = Destination::parse(last.trim()).ok_or_else(|| {
            bad(
                target,
                format!("\"{last}\" is not a jump host: [user@]host[:port]"),
            )
        })?;
        jump = before;
    }
    hops.reverse();
    Ok(hops)
}

fn bad(target: &HostTarget, why: String) -> Failure {
    Failure::new(
        Code::Config,
        format!("cannot tell how to reach {}", target.name),
    )
    .because(why)
    .hint(format!(
        "see [hosts.{}] in cluster.toml, and ssh -G {}",
        target.name, target.target
    ))
}

/// `[user@]host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Destination {
    fn parse(text: &str) -> Option<Self> {
        let text = text
            .strip_prefix("ssh://")
            .map_or(text, |rest| rest.trim_end_matches('/'));
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        } else if rest.matches(':').count() == 1 {
            let (host, port) = rest.split_once(':')?;
            (host, Some(port))
        } else {
            (rest, None)
        };
        // Neither may be taken for an option, nor end a word.
        let plain = |word: &str| {
            !word.is_empty()
                && !word.starts_with('-')
                && !word.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        if !plain(host) || !user.as_deref().is_none_or(plain) {
            return None;
        }
        let port = port.map(str::parse).transpose().ok()?;
        Some(Self {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

/// `ssh -G`'s answers, key and value; empty where no `ssh` is installed.
async fn ask_ssh(
    target: &HostTarget,
    destination: &Destination,
    key: Option<&Path>,
    around: &Surroundings,
) -> Result<Vec<(String, String)>> {
    let mut command = crate::remote::child("ssh");
    command.arg("-G").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(file) = &around.config {
        command.arg("-F").arg(file);
    }
    if let Some(user) = &destination.user {
        command.arg("-l").arg(user);
    }
    if let Some(port) = destination.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(key) = key {
        command.arg("-i").arg(key);
    }
    command.arg("--").arg(&destination.host);
    let output = match tokio::time::timeout(Duration::from_secs(10), command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(Err(error)) => return Err(bad(target, format!("ssh does not start: {error}"))),
        Err(_) => return Err(bad(target, "ssh -G gave no answer in 10 s".to_owned())),
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
        return Err(bad(
            target,
            format!("ssh -G: {}", last.unwrap_or("no output")),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect())
}

impl Hop {
    /// The machine, and the jump hosts its configuration names.
    fn new(
        target: &HostTarget,
        destination: &Destination,
        answers: Vec<(String, String)>,
        around: &Surroundings,
    ) -> Result<(Self, Option<String>)> {
        let ssh = around.home.join(".ssh");
        let mut hop = Self {
            host: destination.host.clone(),
            port: destination.port.unwrap_or(22),
            user: destination
                .user
                .clone()
                .unwrap_or_else(|| around.user.clone()),
            agent: around.agent.clone(),
            ..Self::default()
        };
        let mut jump = None;
        if answers.is_empty() {
            hop.identities = ["id_ed25519", "id_ecdsa", "id_rsa"]
                .map(|name| ssh.join(name))
                .into();
            hop.user_known_hosts = vec![ssh.join("known_hosts")];
            hop.global_known_hosts = vec![PathBuf::from("/etc/ssh/ssh_known_hosts")];
        }
        for (key, value) in answers {
            let given = value != "none";
            match key.as_str() {
                "hostname" => value.trim_matches(['[', ']']).clone_into(&mut hop.host),
                "port" => hop.port = value.parse().unwrap_or(hop.port),
                "user" => hop.user = value,
                "hostkeyalias" if given => hop.alias = Some(value),
                "hashknownhosts" => hop.hashes = value == "yes",
                "identitiesonly" => hop.identities_only = value == "yes",
                "identityagent" => hop.agent = agent(&value, around),
                "proxyjump" if given => jump = Some(value),
                "proxycommand" if given => {
                    return Err(bad(target, format!("its SSH configuration has `ProxyCommand {value}`"))
                        .hint("proxy commands are not supported: use ProxyJump, or jump = in cluster.toml"));
                }
                "userknownhostsfile" if given => hop.user_known_hosts.extend(files(&value, around)),
                "globalknownhostsfile" if given => {
                    hop.global_known_hosts.extend(files(&value, around));
                }
                "identityfile" if given => hop.identities.push(PathBuf::from(value)),
                "certificatefile" if given => hop.certificates.push(PathBuf::from(value)),
                _ => {}
            }
        }
        let names = std::mem::take(&mut hop.identities);
        hop.identities = names.iter().map(|name| hop.file(name, around)).collect();
        let names = std::mem::take(&mut hop.certificates);
        hop.certificates = names.iter().map(|name| hop.file(name, around)).collect();
        Ok((hop, jump))
    }

    /// A file name of ssh_config: `~` and the tokens that make sense in one.
    fn file(&self, name: &Path, around: &Surroundings) -> PathBuf {
        let name = name.to_string_lossy();
        let mut text = String::with_capacity(name.len());
        let mut rest = name.chars();
        while let Some(c) = rest.next() {
            match (c, if c == '%' { rest.next() } else { None }) {
                ('%', Some('d')) => text.push_str(&around.home.to_string_lossy()),
                ('%', Some('h' | 'n')) => text.push_str(&self.host),
                ('%', Some('p')) => text.push_str(&self.port.to_string()),
                ('%', Some('r')) => text.push_str(&self.user),
                ('%', Some('u')) => text.push_str(&around.user),
                ('%', Some('%') | None) => text.push('%'),
                ('%', Some(other)) => text.extend(['%', other]),
                (c, _) => text.push(c),
            }
        }
        expand(&text, &around.home)
    }
}

/// `IdentityAgent`: a path, the name of an environment variable, or nothing.
fn agent(value: &str, around: &Surroundings) -> Option<PathBuf> {
    match value {
        "none" => None,
        "SSH_AUTH_SOCK" => around.agent.clone(),
        path => match path.strip_prefix('$') {
            Some(variable) => {
                std::env::var_os(variable.trim_matches(['{', '}'])).map(PathBuf::from)
            }
            None => Some(expand(path, &around.home)),
        },
    }
}

fn files(value: &str, around: &Surroundings) -> Vec<PathBuf> {
    value
        .split_whitespace()
        .map(|file| expand(file.trim_matches('"'), &around.home))
        .collect()
}

/// A leading `~` is the home directory.
pub(in crate::remote) fn expand(path: &str, home: &Path) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}
