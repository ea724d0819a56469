//! From checked single values to the configuration, defaults filled in.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Map, Value as Json};

use super::problem::{Place, Problems};
use super::walk::{Value, Values};
use super::{Autoscaler, Config, ControlPlane, Host, K3s, Ssh, Workers, keys};

/// The configuration, as far as it can be told. A value that is wrong counts as not given, so that what contradicts
/// another is told in the same breath: only a file without problems makes a configuration to go by.
pub(super) fn config(values: &Values, problems: &mut Problems<'_>) -> Option<Config> {
    let start = Place { line: 1, column: 1 };
    if !values.has("name") {
        if values.places.is_empty() && problems.is_empty() {
            problems.add_with_hint(
                start,
                "is empty",
                "slicer-k3s init asks for what it needs and writes the file",
            );
            return None;
        }
        problems.add_with_hint(start, "`name` is missing", "name = \"home\"");
    }
    if values.hosts.is_empty() && !values.has("hosts") {
        problems.add_with_hint(
            start,
            "no host is named",
            "[hosts.n100] with a line `ssh = \"user@address\"`",
        );
    }
    for host in &values.hosts {
        let path = format!("hosts.{host}");
        if !values.has(&format!("{path}.ssh")) {
            problems.add_with_hint(
                values.place(&path),
                format!("`{path}` does not say how to reach it"),
                "ssh = \"user@address\", or ssh = \"local\" for this machine",
            );
        }
    }
    let hosts = servers_hosts(values, problems);
    let control_plane = control_plane(values, hosts)?;
    let hosts = values
        .hosts
        .iter()
        .map(|name| host(values, name, &control_plane))
        .collect::<Option<Vec<_>>>()?;
    Some(Config {
        name: values.text("name").unwrap_or_default(),
        ssh_keys: values.texts("ssh-keys")?,
        control_plane,
        hosts,
        k3s: K3s {
            version: values.text("k3s.version"),
            channel: values.text("k3s.channel")?,
            cluster_cidr: values.network("k3s.cluster-cidr")?,
            service_cidr: values.network("k3s.service-cidr")?,
            disable: values.texts("k3s.disable")?,
            addons_on_servers: values.flag("k3s.addons-on-servers")?,
            registries: values.free("k3s.registries"),
            http_proxy: values.text("k3s.http-proxy"),
            https_proxy: values.text("k3s.https-proxy"),
            no_proxy: values.texts("k3s.no-proxy")?,
            server_args: values.free("k3s.server-args"),
        },
        autoscaler: Autoscaler {
            chart_version: values.text("autoscaler.chart-version")?,
            chart_repo: values.text("autoscaler.chart-repo")?,
            image: values.text("autoscaler.image")?,
            tag: values.text("autoscaler.tag")?,
            expander: values.text("autoscaler.expander")?,
            args: values.free("autoscaler.args"),
            values: values.free("autoscaler.values"),
        },
    })
}

/// The hosts that run servers; where the file leaves that open, its first one.
fn servers_hosts(values: &Values, problems: &mut Problems<'_>) -> Vec<String> {
    let place = values.place("control-plane");
    let first = || values.hosts.iter().take(1).cloned().collect();
    match (
        values.texts("control-plane.hosts"),
        values.text("control-plane.host"),
    ) {
        (Some(_), Some(_)) => {
            problems.add(
                values.place("control-plane.host"),
                "`host` and `hosts` are both given: one of them is enough",
            );
            first()
        }
        (Some(hosts), None) => hosts,
        (None, Some(host)) => vec![host],
        (None, None) if values.hosts.len() == 1 => values.hosts.clone(),
        // A list that was wrong has been complained about already.
        (None, None) if values.has("control-plane.hosts") || values.has("control-plane.host") => {
            first()
        }
        (None, None) if values.hosts.is_empty() => Vec::new(),
        (None, None) => {
            let name = values.hosts.first().map_or("n100", String::as_str);
            problems.add_with_hint(
                place,
                "which host runs the servers?",
                format!("[control-plane] with a line `host = \"{name}\"`"),
            );
            first()
        }
    }
}

fn control_plane(values: &Values, hosts: Vec<String>) -> Option<ControlPlane> {
    let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    let servers = values
        .number("control-plane.servers")
        .unwrap_or(if count > 1 { count } else { 3 });
    Some(ControlPlane {
        hosts,
        servers,
        cpu: values.number("control-plane.cpu")?,
        ram_gb: values.number("control-plane.ram-gb")?,
        storage_gb: values.number("control-plane.storage-gb")?,
        cidr: values.network("control-plane.cidr"),
        api_port: values.port("control-plane.api-port"),
        group: values.text("control-plane.group")?,
        taint: values.flag("control-plane.taint")?,
        tls_san: values.texts("control-plane.tls-san")?,
    })
}

fn host(values: &Values, name: &str, control_plane: &ControlPlane) -> Option<Host> {
    let path = |key: &str| format!("hosts.{name}.{key}");
    let text = |key: &str| values.text(&path(key));
    // Where the file does not say it rightly: an address that is nobody else's.
    let ssh = text("ssh").map_or_else(|| Ssh::Target(format!("[{name}]")), |ssh| Ssh::of(&ssh));
    let section = values.places.contains_key(&path("workers"));
    let wanted = values.flag(&path("workers")).unwrap_or(
        section || values.hosts.len() == 1 || !control_plane.hosts.iter().any(|host| host == name),
    );
    Some(Host {
        name: name.to_owned(),
        ssh,
        port: values.port(&path("port")),
        key_file: text("key-file"),
        jump: text("jump"),
        host_key: text("host-key"),
        sudo_password_file: text("sudo-password-file"),
        lan_address: values.address(&path("lan-address")),
        licence_file: text("licence-file"),
        share_daemon: values.flag(&path("share-daemon"))?,
        workers: if wanted {
            Some(workers(values, &path("workers"))?)
        } else {
            None
        },
    })
}

fn workers(values: &Values, section: &str) -> Option<Workers> {
    let path = |key: &str| format!("{section}.{key}");
    Some(Workers {
        cpu: values.number(&path("cpu"))?,
        ram_gb: values.number(&path("ram-gb"))?,
        storage_gb: values.number(&path("storage-gb"))?,
        min: values.number(&path("min"))?,
        max: values.number(&path("max")),
        priority: values.number(&path("priority"))?,
        group: values.text(&path("group")),
        cidr: values.network(&path("cidr")),
        api_port: values.port(&path("api-port")),
        tap_prefix: values.text(&path("tap-prefix")),
    })
}

/// Reading by path: what the file says, else the key table's default.
impl Values {
    /// Whether the file says anything at this path, right or wrong.
    pub(super) fn has(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Whether the file says something at this key that is not right.
    pub(super) fn is_wrong(&self, path: &str) -> bool {
        self.has(path) && !self.said.contains_key(path)
    }

    /// Where a path, or the nearest section around it, was written.
    pub(super) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some((_, place)) = self.said.get(path) {
                return *place;
            }
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rsplit_once('.') {
                Some((parent, _)) => path = parent,
                None => return Place { line: 1, column: 1 },
            }
        }
    }

    fn get(&self, path: &str) -> Option<&Value> {
        self.said.get(path).map(|(value, _)| value)
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.get(path) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => default(path).map(|text| text.trim_matches('"').to_owned()),
        }
    }

    fn number(&self, path: &str) -> Option<u32> {
        match self.get(path) {
            Some(Value::Number(number)) => Some(*number),
            _ => default(path)?.parse().ok(),
        }
    }

    fn port(&self, path: &str) -> Option<u16> {
        self.number(path).and_then(|port| u16::try_from(port).ok())
    }

    fn flag(&self, path: &str) -> Option<bool> {
        match self.get(path) {
            Some(Value::Flag(flag)) => Some(*flag),
            _ => default(path)?.parse().ok(),
        }
    }

    fn texts(&self, path: &str) -> Option<Vec<String>> {
        match self.get(path) {
            Some(Value::Texts(texts)) => Some(texts.clone()),
            // The only default that a list can have is the empty one.
            _ => default(path).map(|_| Vec::new()),
        }
    }

    fn network(&self, path: &str) -> Option<Ipv4Net> {
        match self.get(path) {
            Some(Value::Network(network)) => Some(*network),
            _ => default(path)?.trim_matches('"').parse().ok(),
        }
    }

    fn address(&self, path: &str) -> Option<Ipv4Addr> {
        match self.get(path) {
            Some(Value::Address(address)) => Some(*address),
            _ => None,
        }
    }

    fn free(&self, path: &str) -> Map<String, Json> {
        match self.get(path) {
            Some(Value::Free(map)) => map.clone(),
            _ => Map::new(),
        }
    }
}

/// The default that the key table gives to a path.
fn default(path: &str) -> Option<&'static str> {
    let pattern = match path
        .strip_prefix("hosts.")
        .and_then(|rest| rest.split_once('.'))
    {
        Some((_, key)) => format!("hosts.NAME.{key}"),
        None => path.to_owned(),
    };
    keys::at(&pattern)?.default
}
