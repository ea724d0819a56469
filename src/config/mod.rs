//! cluster.toml: strict, small; every error at once with line and column.

mod agree;
mod astray;
mod build;
mod comments;
mod edit;
mod format;
mod fresh;
pub mod keys;
pub mod own;
mod problem;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod walk;

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use serde_json::{Map, Value};

pub use edit::{NewHost, Setting, add_host, disable_workers, remove_host};
pub use format::Complaint;
pub(crate) use format::is_plain_path;
pub use fresh::{Fresh, FreshHost};
pub use problem::{Place, Problem};

use problem::Problems;

/// What the user wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The cluster's name.
    pub name: String,
    /// Public SSH keys for the servers, besides the cluster's own.
    pub ssh_keys: Vec<String>,
    /// The servers.
    pub control_plane: ControlPlane,
    /// Machines running Slicer, in the file's order.
    pub hosts: Vec<Host>,
    /// k3s settings.
    pub k3s: K3s,
    /// Autoscaler settings.
    pub autoscaler: Autoscaler,
}

impl Config {
    /// The host called `name`.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }
}

/// The k3s servers.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlPlane {
    /// One host for all servers, or one for each.
    pub hosts: Vec<String>,
    /// 1, 3 or 5.
    pub servers: u32,
    /// vCPUs of a server.
    pub cpu: u32,
    /// RAM of a server, GiB.
    pub ram_gb: u32,
    /// Disk of a server, GB.
    pub storage_gb: u32,
    /// The servers' network, where the user chose it.
    pub cidr: Option<Ipv4Net>,
    /// The API's port, where the user chose it.
    pub api_port: Option<u16>,
    /// The group's name; with several hosts each gets `-a`, `-b` and so on.
    pub group: String,
    /// Whether servers refuse ordinary pods.
    pub taint: bool,
    /// More names for the API's certificate.
    pub tls_san: Vec<String>,
}

impl ControlPlane {
    /// Each of its hosts with the name of its group there.
    pub fn groups(&self) -> Vec<(&str, String)> {
        let spread = self.hosts.len() > 1;
        let letters = 'a'..='z';
        self.hosts
            .iter()
            .zip(letters)
            .map(|(host, letter)| {
                let group = if spread {
                    format!("{}-{letter}", self.group)
                } else {
                    self.group.clone()
                };
                (host.as_str(), group)
            })
            .collect()
    }
}

/// How a machine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ssh {
    /// This very machine.
    Local,
    /// `[user@]host`, or an alias of the SSH configuration.
    Target(String),
}

impl Ssh {
    /// What a text means.
    pub fn of(text: &str) -> Self {
        match text {
            "local" => Self::Local,
            target => Self::Target(target.to_owned()),
        }
    }
}

/// A machine running Slicer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, used in every message.
    pub name: String,
    /// How to reach it.
    pub ssh: Ssh,
    /// Its SSH port, where given.
    pub port: Option<u16>,
    /// The private key's file, where given; may begin with `~`.
    pub key_file: Option<String>,
    /// `[user@]host[:port]`, separated by commas.
    pub jump: Option<String>,
    /// `SHA256:…` of its host key.
    pub host_key: Option<String>,
    /// A local file with sudo's password; may begin with `~`.
    pub sudo_password_file: Option<String>,
    /// The address by which the other hosts reach it, where the user chose it.
    pub lan_address: Option<Ipv4Addr>,
    /// The licence's path on the host, where given.
    pub licence_file: Option<String>,
    /// Whether its servers and its agents are one daemon's.
    pub share_daemon: bool,
    /// Its agents, if it runs any.
    pub workers: Option<Workers>,
}

impl Host {
    /// A host of which no more is known than how to reach it.
    pub fn new(name: &str, ssh: Ssh) -> Self {
        Self {
            name: name.to_owned(),
            ssh,
            port: None,
            key_file: None,
            jump: None,
            host_key: None,
            sudo_password_file: None,
            lan_address: None,
            licence_file: None,
            share_daemon: false,
            workers: None,
        }
    }
}

/// One host's agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// vCPUs of an agent.
    pub cpu: u32,
    /// RAM of an agent, GiB.
    pub ram_gb: u32,
    /// Disk of an agent, GB.
    pub storage_gb: u32,
    /// Fewest agents.
    pub min: u32,
    /// Most agents, where the user chose it.
    pub max: Option<u32>,
    /// Which group grows first, with the expander [`keys::PRIORITY`].
    pub priority: u32,
    /// The group's name, where the user chose it.
    pub group: Option<String>,
    /// The agents' network, where the user chose it.
    pub cidr: Option<Ipv4Net>,
    /// The API's port, where the user chose it.
    pub api_port: Option<u16>,
    /// Prefix of tap names, where the user chose it.
    pub tap_prefix: Option<String>,
}

/// k3s settings.
#[derive(Clone, Debug, PartialEq)]
pub struct K3s {
    /// The exact version, where the user chose it.
    pub version: Option<String>,
    /// The channel to resolve otherwise.
    pub channel: String,
    /// Pods' network.
    pub cluster_cidr: Ipv4Net,
    /// Services' network.
    pub service_cidr: Ipv4Net,
    /// Components to leave out.
    pub disable: Vec<String>,
    /// Whether the packaged components run on servers only.
    pub addons_on_servers: bool,
    /// registries.yaml of every server.
    pub registries: Map<String, Value>,
    /// Proxy for plain HTTP.
    pub http_proxy: Option<String>,
    /// Proxy for HTTPS.
    pub https_proxy: Option<String>,
    /// What needs no proxy, besides the cluster's own.
    pub no_proxy: Vec<String>,
    /// More keys of config.yaml.
    pub server_args: Map<String, Value>,
}

/// Autoscaler settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// Chart version.
    pub chart_version: String,
    /// Chart repository.
    pub chart_repo: String,
    /// Image repository.
    pub image: String,
    /// Image tag.
    pub tag: String,
    /// One of [`keys::EXPANDERS`].
    pub expander: String,
    /// More flags.
    pub args: Map<String, Value>,
    /// More Helm values.
    pub values: Map<String, Value>,
}

/// Whether a text can be a host's name.
pub fn check_name(text: &str) -> Result<(), Complaint> {
    format::label(text, HOST_NAME)
}

/// Whether a text can be a cluster's name.
pub fn check_cluster(text: &str) -> Result<(), Complaint> {
    format::label(text, keys::CLUSTER_NAME)
}

/// Whether a text can be a URL in cluster.toml.
pub fn is_url(text: &str) -> bool {
    format::line(text).is_ok() && format::url(text).is_ok()
}

/// Whether a text can be a host's `ssh`.
pub fn check_ssh(text: &str) -> Result<(), Complaint> {
    format::ssh(text)
}

/// What is typed as `[user@]host[:port]`, as the keys `ssh` and `port` say it; a text of another form is all `ssh`.
pub fn split_port(text: &str) -> (&str, Option<u16>) {
    format::split_port(text)
}

/// Where the keys of cluster.toml are described.
pub const KEYS_PAGE: &str =
    "https://github.com/slicer-k3s/slicer-k3s/blob/main/docs/configuration.md";

/// Longest name of a host.
const HOST_NAME: usize = 40;

/// Most bytes of a cluster.toml; a bigger file is something else.
const LONGEST: u64 = 1024 * 1024;

/// Reads a text; `file` is its name in messages. On failure, everything that is wrong.
pub fn parse(text: &str, file: &str) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::new(file);
    let values = walk::read(text, &mut problems);
    if !values.is_toml {
        return Err(problems.into_sorted());
    }
    let config = build::config(&values, &mut problems);
    if let Some(config) = &config {
        agree::check(config, &values, &mut problems);
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems.into_sorted()),
    }
}

/// The cluster's name in a text of which something else may be wrong; `None` where that line itself is not to be relied on.
pub fn name_in(text: &str) -> Option<String> {
    let mut problems = Problems::new("");
    let values = walk::read(text, &mut problems);
    let (value, place) = values.said.get("name")?;
    let walk::Value::Text(name) = value else {
        return None;
    };
    let wrong = |problem: &Problem| problem.place.line == place.line;
    (!problems.into_sorted().iter().any(wrong)).then(|| name.clone())
}

/// Reads a file. On failure, everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    let file = path.display().to_string();
    let text = read(path).map_err(|(place, message, hint)| {
        vec![Problem {
            file: file.clone(),
            place,
            message,
            hint: Some(hint.to_owned()),
        }]
    })?;
    parse(&text, &file)
}

fn read(path: &Path) -> Result<String, (Place, String, &'static str)> {
    const INIT: &str = "slicer-k3s init asks for what it needs and writes the file";
    let start = Place { line: 1, column: 1 };
    let size = match fs_err::metadata(path) {
        Ok(facts) if facts.is_file() => facts.len(),
        Ok(_) => {
            return Err((
                start,
                "is not a file".to_owned(),
                "give the file's name with --config",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err((start, "does not exist".to_owned(), INIT));
        }
        Err(error) => {
            return Err((
                start,
                format!("cannot be read: {error}"),
                "check its owner and mode",
            ));
        }
    };
    if size > LONGEST {
        return Err((
            start,
            format!("has {size} bytes: not a cluster.toml"),
            "give the file's name with --config",
        ));
    }
    let bytes = fs_err::read(path).map_err(|error| {
        (
            start,
            format!("cannot be read: {error}"),
            "check its owner and mode",
        )
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        (
            Place::of(&text, good),
            "is not UTF-8 text".to_owned(),
            "save it as UTF-8",
        )
    })
}
