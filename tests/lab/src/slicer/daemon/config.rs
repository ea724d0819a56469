//! The host YAML as it is written: every documented field, and nothing else.
//!
//! Strict on purpose: the original may let an unknown key pass, but a key that nobody reads is a mistake
//! of whoever wrote it, and finding such mistakes is what a stand-in is for.

use serde::{Deserialize, de::IgnoredAny};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The only key at the top.
    pub(crate) config: Config,
}

/// What one daemon runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The host groups.
    #[serde(default)]
    pub(crate) host_groups: Vec<HostGroup>,
    /// The root file system image of every VM.
    pub(crate) image: Option<String>,
    /// `firecracker`, or another one.
    pub(crate) hypervisor: Option<String>,
    /// Whether VMs are shut down cleanly when the daemon stops.
    pub(crate) graceful_shutdown: Option<bool>,
    /// Whose keys to import at boot.
    pub(crate) github_user: Option<String>,
    /// Keys for every VM.
    #[serde(default)]
    pub(crate) ssh_keys: Vec<String>,
    /// The REST API.
    pub(crate) api: Option<Api>,
    /// The serial-over-SSH console.
    pub(crate) ssh: Option<Ssh>,
    #[serde(rename = "kernel_image")]
    _kernel_image: Option<IgnoredAny>,
    #[serde(rename = "kernel_file")]
    _kernel_file: Option<IgnoredAny>,
    #[serde(rename = "insecure_registry")]
    _insecure_registry: Option<IgnoredAny>,
    #[serde(rename = "pci")]
    _pci: Option<IgnoredAny>,
}

/// Where the API listens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    /// The TCP port.
    pub(crate) port: Option<u16>,
    /// An address, or the path of a UNIX socket.
    pub(crate) bind_address: Option<String>,
    /// `false` switches the API off.
    pub(crate) enabled: Option<bool>,
    /// Whether a token is asked for.
    pub(crate) auth: Option<Auth>,
}

/// Whether a token is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    /// On by default for TCP, off for sockets.
    pub(crate) enabled: Option<bool>,
    /// A token of the user's own.
    pub(crate) token: Option<String>,
}

/// Where the serial-over-SSH console listens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ssh {
    /// Zero switches it off.
    pub(crate) port: Option<u16>,
    /// The address.
    pub(crate) bind_address: Option<String>,
}

/// One host group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostGroup {
    /// Its name, the first part of every hostname.
    pub(crate) name: String,
    /// How many VMs to launch at start.
    pub(crate) count: Option<u32>,
    /// CPUs a VM, and the most that a VM may have.
    pub(crate) vcpu: Option<u32>,
    /// Memory in GiB.
    pub(crate) ram_gb: Option<u64>,
    /// Memory in MiB.
    pub(crate) ram_mb: Option<u64>,
    /// Memory in bytes.
    pub(crate) ram_bytes: Option<u64>,
    /// `image`, `zfs` or `devmapper`, which is the default.
    pub(crate) storage: Option<String>,
    /// The disk's size.
    pub(crate) storage_size: Option<String>,
    /// Whether VMs of the API keep their disk.
    pub(crate) persistent: Option<bool>,
    /// A script for the first boot.
    pub(crate) userdata: Option<String>,
    /// The file that holds that script.
    pub(crate) userdata_file: Option<String>,
    /// The guests' name servers.
    pub(crate) dns_servers: Option<Vec<String>>,
    /// Graphics cards.
    pub(crate) gpu_count: Option<u32>,
    /// The group's network.
    pub(crate) network: Option<Network>,
    #[serde(rename = "ca")]
    _ca: Option<IgnoredAny>,
    #[serde(rename = "image")]
    _image: Option<IgnoredAny>,
    /// A CNI network instead.
    pub(crate) network_name: Option<String>,
}

/// The network of a group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    /// `bridge` by default.
    pub(crate) mode: Option<String>,
    /// The bridge's name.
    pub(crate) bridge: Option<String>,
    /// What taps' names begin with.
    pub(crate) tap_prefix: Option<String>,
    /// The bridge's address with its mask.
    pub(crate) gateway: Option<String>,
    /// Fixed addresses of the VMs.
    #[serde(default)]
    pub(crate) addresses: Vec<String>,
    /// `first-last`: where the VMs' addresses come from.
    pub(crate) range: Option<String>,
    #[serde(rename = "allow")]
    _allow: Option<IgnoredAny>,
    #[serde(rename = "drop")]
    _drop: Option<IgnoredAny>,
    #[serde(rename = "parent")]
    _parent: Option<IgnoredAny>,
}
