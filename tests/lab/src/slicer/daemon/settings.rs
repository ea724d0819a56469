//! The daemon's settings: the YAML, checked as a whole.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{
    config::{Config, File},
    group::Group,
};
use crate::host::account;

/// Where the API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// An address and a port.
    Tcp(String, u16),
    /// A UNIX socket.
    Socket(PathBuf),
}

/// Everything that one daemon was told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The host groups.
    pub(crate) groups: Vec<Group>,
    /// The image's name.
    pub(crate) image: String,
    /// Whether VMs are shut down cleanly when the daemon stops.
    pub(crate) graceful: bool,
    /// Keys for every VM.
    pub(crate) ssh_keys: Vec<String>,
    /// Whose keys the guests try to import.
    pub(crate) github_user: Option<String>,
    /// Where the API listens, if anywhere.
    pub(crate) listen: Option<Listen>,
    /// Whether the API asks for a token.
    pub(crate) auth: bool,
    /// A token of the user's own.
    pub(crate) token: Option<String>,
    /// Where the serial console listens.
    pub(crate) console: Option<(String, u16)>,
}

impl Settings {
    /// Reads and checks a host YAML.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("failed to read config file {}", path.display()))?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        Self::parse(&text, base).with_context(|| format!("invalid config {}", path.display()))
    }

    /// Checks the text of a host YAML.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Self> {
        let File { config } = yaml_serde::from_str(text)?;
        ensure!(
            !config.host_groups.is_empty(),
            "config.host_groups is empty"
        );
        let groups: Vec<Group> = config
            .host_groups
            .iter()
            .map(|raw| Group::check(raw, base))
            .collect::<Result<_>>()?;
        distinct(&groups)?;
        let hypervisor = config.hypervisor.as_deref().unwrap_or("firecracker");
        ensure!(
            matches!(hypervisor, "firecracker" | "cloud-hypervisor" | "qemu"),
            "unknown hypervisor `{hypervisor}`"
        );
        let listen = listen(&config);
        let tcp = matches!(listen, Some(Listen::Tcp(..)));
        let auth = config.api.as_ref().and_then(|api| api.auth.as_ref());
        Ok(Self {
            auth: auth.and_then(|auth| auth.enabled).unwrap_or(tcp),
            token: auth.and_then(|auth| auth.token.clone()),
            image: config.image.clone().context("config.image is missing")?,
            graceful: config.graceful_shutdown.unwrap_or(true),
            console: console(&config),
            ssh_keys: config.ssh_keys,
            github_user: config.github_user,
            groups,
            listen,
        })
    }
}

fn listen(config: &Config) -> Option<Listen> {
    let api = config.api.as_ref()?;
    if api.enabled == Some(false) {
        return None;
    }
    let bind = api
        .bind_address
        .clone()
        .unwrap_or_else(|| "127.0.0.1".to_owned());
    Some(match socket_path(&bind) {
        Some(path) => Listen::Socket(path),
        None => Listen::Tcp(bind, api.port.unwrap_or(8080)),
    })
}

fn console(config: &Config) -> Option<(String, u16)> {
    let ssh = config.ssh.as_ref()?;
    let port = ssh.port.unwrap_or(2222);
    (port != 0).then(|| {
        (
            ssh.bind_address
                .clone()
                .unwrap_or_else(|| "0.0.0.0".to_owned()),
            port,
        )
    })
}

/// The path, when an address is spelt as that of a UNIX socket.
pub(crate) fn socket_path(text: &str) -> Option<PathBuf> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Some(path.into());
    }
    let looks_so = text.starts_with(['/', '~'])
        || text.starts_with("./")
        || text.starts_with("../")
        || (Path::new(text).extension().is_some_and(|ext| ext == "sock") && !text.contains("://"));
    looks_so.then(|| account::expand(text))
}

fn distinct(groups: &[Group]) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut bridges = BTreeSet::new();
    let mut taps = BTreeSet::new();
    for (index, group) in groups.iter().enumerate() {
        ensure!(
            names.insert(&group.name),
            "host group {} appears twice",
            group.name
        );
        ensure!(
            bridges.insert(&group.bridge),
            "bridge {} appears twice",
            group.bridge
        );
        ensure!(
            taps.insert(&group.tap_prefix),
            "tap_prefix {} appears twice",
            group.tap_prefix
        );
        for other in &groups[..index] {
            let (a, b) = (group.cidr(), other.cidr());
            ensure!(
                !a.contains(&b) && !b.contains(&a),
                "the networks of {} and {} overlap",
                group.name,
                other.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
config:
  host_groups:
  - name: k3s-agents-1
    storage: image
    storage_size: 25G
    count: 0
    vcpu: 2
    ram_gb: 4
    network:
      bridge: brk3s-agents-10
      tap_prefix: k3sa1
      gateway: 192.168.138.1/24
  image: "ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest"
  hypervisor: firecracker
  api:
    port: 8081
    bind_address: "0.0.0.0"
    auth:
      enabled: true
  ssh:
    port: 0
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "the sample lacks {from}");
        let error = Settings::parse(&GOOD.replace(from, to), Path::new(".")).unwrap_err();
        format!("{error:#}")
    }

    /// The documented skeleton must be accepted as it stands.
    #[test]
    fn the_documented_form_is_accepted() {
        let settings = Settings::parse(GOOD, Path::new(".")).unwrap();
        let group = &settings.groups[0];
        assert_eq!(settings.listen, Some(Listen::Tcp("0.0.0.0".into(), 8081)));
        assert!(settings.auth && settings.console.is_none());
        assert_eq!(group.ram_bytes, 4 << 30);
        assert_eq!(group.disk_bytes, 25 << 30);
        assert_eq!(group.pool.len(), 253);
        assert_eq!(group.pool[0].to_string(), "192.168.138.2");
        assert_eq!(group.dns_servers, ["8.8.8.8", "1.1.1.1"]);
        assert_eq!(group.tap(1).unwrap(), "k3sa11");
    }

    /// T-24: storage left out means devmapper, which a plain host lacks; image wants a size.
    #[test]
    fn storage_is_checked() {
        assert!(refused("    storage: image\n    storage_size: 25G\n", "").contains("devmapper"));
        assert!(refused("    storage_size: 25G\n", "").contains("storage_size is required"));
        assert!(refused("storage: image", "storage: devmapper").contains("must not be set"));
    }

    /// T-19, T-20: names that the kernel refuses.
    #[test]
    fn interface_names_are_checked() {
        assert!(refused("tap_prefix: k3sa1", "tap_prefix: k3sa1k3sa1k3sa1").contains("tap_prefix"));
        let long = refused(
            "      bridge: brk3s-agents-10\n",
            "      bridge: brk3s-agents-100\n",
        );
        assert!(
            long.contains("bridge brk3s-agents-100: numerical result"),
            "{long}"
        );
    }

    /// Duplicate keys, unknown keys, both sizes of memory, two groups on one network.
    #[test]
    fn mistakes_are_refused() {
        assert!(refused("count: 0", "count: 0\n    cuont: 1").contains("cuont"));
        assert!(refused("count: 0", "count: 0\n    count: 1").contains("duplicate"));
        assert!(refused("ram_gb: 4", "ram_gb: 4\n    ram_mb: 4096").contains("only one"));
        assert!(refused("gateway: 192.168.138.1/24", "gateway: 192.168.138.1").contains("gateway"));
    }

    /// Sockets have no token by default.
    #[test]
    fn a_socket_needs_no_token() {
        let text = GOOD
            .replace("\"0.0.0.0\"", "./slicer.sock")
            .replace("    auth:\n      enabled: true\n", "");
        let settings = Settings::parse(&text, Path::new(".")).unwrap();
        assert_eq!(
            settings.listen,
            Some(Listen::Socket("./slicer.sock".into()))
        );
        assert!(!settings.auth);
    }
}
