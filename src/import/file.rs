//! A cluster.toml that says what was found: what is a default, or lies in the decisions, is left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Findings, Found, servers, settings, surroundings};
use crate::config::own::SERVER_ARGS;
use crate::config::{self, Config};
use crate::failure::{Code, Failure, Result};
use crate::k3s::SERVER_TAINT;
use crate::plan::{Daemon, Role};
use crate::secret::Secret;

/// A cluster.toml.
#[derive(Clone, Debug, Default)]
pub struct ClusterFile {
    /// Its text.
    pub text: String,
    /// The same as it may be shown.
    pub shown: String,
    /// Whether the text holds passwords: the file is to be its owner's alone.
    pub private: bool,
}

/// The file; `extras` are the autoscaler's flags and values beyond ours.
pub fn text(
    findings: &Findings,
    extras: &(Map<String, Value>, Map<String, Value>),
) -> Result<ClusterFile> {
    let defaults = defaults()?;
    let mut file = File {
        section: None,
        written: ClusterFile::default(),
    };
    file.line("# Written by slicer-k3s import; it is yours to edit. All keys:");
    file.line(&format!("# {}", config::KEYS_PAGE));
    file.key("name", &json!(findings.cluster));
    let comment = format!(" slicer-k3s-{}", findings.cluster);
    let keys: BTreeSet<&String> = findings.hosts.iter().flat_map(|host| &host.keys).collect();
    let keys: Vec<&&String> = keys.iter().filter(|key| !key.ends_with(&comment)).collect();
    file.unless(&json!([]), "ssh-keys", &json!(keys));
    control_plane(&mut file, findings, &defaults)?;
    for host in &findings.hosts {
        one_host(&mut file, host, findings);
    }
    k3s(&mut file, findings, &defaults)?;
    if let Some(known) = findings.autoscaler() {
        let usual = &defaults.autoscaler;
        file.section("autoscaler");
        file.unless(
            &json!(usual.chart_version),
            "chart-version",
            &json!(known.version),
        );
        let repo = known.repo.as_ref().unwrap_or(&usual.chart_repo);
        file.unless(&json!(usual.chart_repo), "chart-repo", &json!(repo));
        file.unless(&json!(usual.image), "image", &json!(known.image));
        file.unless(&json!(usual.tag), "tag", &json!(known.tag));
        let expander = known.expander.as_ref().unwrap_or(&usual.expander);
        file.unless(&json!(usual.expander), "expander", &json!(expander));
        file.keys_only("args", &extras.0)?;
        file.keys_only("values", &extras.1)?;
    }
    Ok(file.written)
}

/// What holds where a file says nothing.
pub(super) fn defaults() -> Result<Config> {
    config::parse("name='x'\n[hosts.x]\nssh='local'\n", "defaults")
        .map_err(|_| Failure::new(Code::Config, "the defaults are no configuration"))
}

/// The disk of an agent where nothing is said of it, GB.
const USUAL_STORAGE: u32 = 25;

struct File {
    /// The section that begins with the next key, if one comes.
    section: Option<String>,
    written: ClusterFile,
}

impl File {
    fn section(&mut self, name: &str) {
        self.section = Some(name.to_owned());
    }

    fn line(&mut self, line: &str) {
        self.both(line, line);
    }

    fn both(&mut self, line: &str, shown: &str) {
        let _ = writeln!(self.written.text, "{line}");
        let _ = writeln!(self.written.shown, "{shown}");
    }

    fn begin(&mut self) {
        if let Some(section) = self.section.take() {
            self.line(&format!("\n[{section}]"));
        }
    }

    fn key(&mut self, key: &str, value: &Value) {
        // Nothing in TOML stands for null.
        if let Ok(value) = toml::Value::try_from(value) {
            self.begin();
            self.line(&format!("{key} = {value}"));
        }
    }

    /// A table of somebody else's keys, of which any may hold a password: only their names are shown.
    fn keys_only(&mut self, key: &str, table: &Map<String, Value>) -> Result<()> {
        let names: Vec<&str> = table.keys().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(());
        }
        let hidden = format!(
            "# {key}: {}; the values are not shown, for they may hold passwords",
            names.join(", ")
        );
        self.hide(key, &json!(table), &hidden)
    }

    /// One whose value may hold passwords: it is not shown.
    fn private(&mut self, key: &str, value: &Value) -> Result<()> {
        let hidden = format!("# {key}: not shown, for it may hold passwords");
        self.hide(key, value, &hidden)
    }

    /// Writes a value, and shows these words in its place.
    fn hide(&mut self, key: &str, value: &Value, hidden: &str) -> Result<()> {
        let value = toml::Value::try_from(value).map_err(|_| {
            // What it says may quote the value.
            Failure::new(Code::Config, format!("{key} cannot be written as TOML"))
                .because("it holds a number that is too large, or nothing where something must be")
        })?;
        hold(key, &value);
        self.begin();
        self.both(&format!("{key} = {value}"), hidden);
        self.written.private = true;
        Ok(())
    }

    fn unless(&mut self, default: &Value, key: &str, value: &Value) {
        if value != default {
            self.key(key, value);
        }
    }
}

/// Keeps passwords below a value out of messages and logs from now on.
fn hold(key: &str, value: &toml::Value) {
    match value {
        toml::Value::String(text) if may_be_secret(key) || text.contains('@') => {
            drop(Secret::new(text));
        }
        toml::Value::String(text) => {
            // A flag's value, such as `password=…` of an `…-arg`.
            if let Some((key, value)) = text.split_once('=')
                && may_be_secret(key)
            {
                drop(Secret::new(value));
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|value| hold(key, value)),
        toml::Value::Table(table) => {
            // An environment's entry has its name beside its value.
            let name = table.get("name").and_then(toml::Value::as_str);
            for (key, value) in table {
                hold(name.filter(|_| key == "value").unwrap_or(key), value);
            }
        }
        _ => {}
    }
}

fn control_plane(file: &mut File, findings: &Findings, defaults: &Config) -> Result<()> {
    let mut daemons: Vec<&Daemon> = findings
        .daemons()
        .filter(|daemon| daemon.role == Role::ControlPlane)
        .collect();
    // Spread groups are named after the place of their host in the list.
    daemons.sort_by_key(|daemon| &daemon.group);
    let [first, rest @ ..] = daemons.as_slice() else {
        return Err(
            Failure::new(Code::Config, "none of these hosts runs a server")
                .hint("name the hosts of the control plane, too"),
        );
    };
    let usual = &defaults.control_plane;
    let hosts: Vec<&str> = daemons.iter().map(|daemon| daemon.host.as_str()).collect();
    file.section("control-plane");
    file.key("hosts", &json!(hosts));
    let mut group = first.group.as_str();
    if rest.is_empty() {
        file.key("servers", &json!(first.count));
    } else {
        group = group.strip_suffix("-a").unwrap_or(group);
    }
    file.unless(&json!(usual.group), "group", &json!(group));
    file.unless(&json!(usual.cpu), "cpu", &json!(first.cpu));
    file.unless(&json!(usual.ram_gb), "ram-gb", &json!(first.ram_gb));
    file.unless(
        &json!(usual.storage_gb),
        "storage-gb",
        &json!(first.storage_gb),
    );
    let config = some_config(findings);
    let addresses: BTreeSet<String> = findings
        .marked_servers()
        .map(|server| server.address.to_string())
        .collect();
    let names = config["tls-san"].as_array().into_iter().flatten();
    let names: Vec<&Value> = names
        .filter(|name| name.as_str().is_none_or(|name| !addresses.contains(name)))
        .collect();
    file.unless(&json!([]), "tls-san", &json!(names));
    let taints = config["node-taint"].as_array();
    let (ours, others): (Vec<&Value>, Vec<&Value>) = taints
        .into_iter()
        .flatten()
        .partition(|taint| *taint == SERVER_TAINT);
    if !ours.is_empty() {
        file.key("taint", &json!(true));
    }
    for taint in others {
        // A Node keeps its taints; a server that is made again has those of config.yaml alone.
        file.begin();
        file.line(&format!(
            "# taint: {taint} is not taken over, since servers get no other one than {SERVER_TAINT}; their Nodes keep it"
        ));
    }
    Ok(())
}

fn some_config(findings: &Findings) -> Value {
    let mut configs = findings
        .servers
        .iter()
        .map(|(_, facts)| servers::config(facts));
    configs.find(Value::is_object).unwrap_or_default()
}

fn one_host(file: &mut File, host: &Found, findings: &Findings) {
    file.section(&format!("hosts.{}", host.facts.name));
    let (ssh, port) = config::split_port(&host.ssh);
    file.key("ssh", &json!(ssh));
    if let Some(port) = port {
        file.key("port", &json!(port));
    }
    if let Some(path) = &host.sudo_password_file {
        file.key("sudo-password-file", &json!(path));
    }
    let ours = host.facts.daemons.iter();
    let licence = ours
        .filter(|daemon| daemon.cluster() == Some(&findings.cluster))
        .find_map(|daemon| daemon.licence_file.as_ref())
        .map(|path| path.trim_matches('"'));
    if licence.is_some() && licence != host.facts.licence_file.as_deref() {
        file.key("licence-file", &json!(licence));
    }
    if host
        .mark
        .daemons
        .iter()
        .any(|daemon| daemon.shares.is_some())
    {
        file.key("share-daemon", &json!(true));
    }
    let mut daemons = host.mark.daemons.iter();
    let workers = daemons.find(|daemon| daemon.role == Role::Workers);
    let value = workers.map_or(json!(false), |daemon| {
        let mut value = json!({"cpu": daemon.cpu, "ram-gb": daemon.ram_gb, "max": daemon.max});
        if daemon.storage_gb != USUAL_STORAGE {
            value["storage-gb"] = json!(daemon.storage_gb);
        }
        for (key, number) in [("min", daemon.min), ("priority", daemon.priority)] {
            if number > 0 {
                value[key] = json!(number);
            }
        }
        value
    });
    // Where servers run, none are the default.
    if workers.is_some() || host.mark.servers.is_empty() || findings.hosts.len() == 1 {
        file.key("workers", &value);
    }
}

fn k3s(file: &mut File, findings: &Findings, defaults: &Config) -> Result<()> {
    let usual = &defaults.k3s;
    let Some(mark) = findings.hosts.first().map(|host| &host.mark) else {
        return Ok(());
    };
    let config = some_config(findings);
    file.section("k3s");
    file.unless(
        &json!(usual.cluster_cidr),
        "cluster-cidr",
        &json!(mark.cluster_cidr),
    );
    file.unless(
        &json!(usual.service_cidr),
        "service-cidr",
        &json!(mark.service_cidr),
    );
    if config["disable"].is_array() {
        file.key("disable", &config["disable"]);
    }
    let entries = config.as_object().into_iter().flatten();
    let more: Map<String, Value> = entries
        .filter(|(key, _)| !SERVER_ARGS.iter().any(|(ours, _)| ours == key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    file.keys_only("server-args", &more)?;
    for (key, why) in settings::left(findings) {
        file.begin();
        file.line(&format!("# {key}: not taken over from the servers ({why})"));
    }
    surroundings(file, findings)
}

/// Whether what this key names may be a password, such as `etcd-s3-secret-key` or `DB_PASSWORD`.
fn may_be_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let words = ["secret", "token", "password", "access-key", "auth"];
    words.iter().any(|word| key.contains(word))
}

/// What the servers read besides their configuration: without it the next `init` would take it away.
fn surroundings(file: &mut File, findings: &Findings) -> Result<()> {
    let proxies = surroundings::proxies(findings);
    for (key, url) in &proxies.urls {
        if config::is_url(url) {
            if url.contains('@') {
                file.private(key, &json!(url))?;
            } else {
                file.key(key, &json!(url));
            }
        } else {
            file.begin();
            file.line(&format!(
                "# {key}: the servers have one that is no http:// URL; it stays there as it is"
            ));
        }
    }
    file.unless(&json!([]), "no-proxy", &json!(proxies.without));
    let registries = surroundings::registries(findings)?;
    if holds_passwords(&registries) {
        file.private("registries", &json!(registries))?;
    } else {
        file.unless(&json!({}), "registries", &json!(registries));
    }
    Ok(())
}

/// Whether registries.yaml has credentials: below `configs`, or in a mirror's URL.
fn holds_passwords(registries: &Map<String, Value>) -> bool {
    let configs = registries.get("configs").and_then(Value::as_object);
    let mirrors = registries.get("mirrors").map(Value::to_string);
    configs.is_some_and(|configs| !configs.is_empty())
        || mirrors.is_some_and(|mirrors| mirrors.contains('@'))
}
