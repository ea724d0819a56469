//! A host group with every default filled in and every rule checked.

use std::{net::Ipv4Addr, path::Path};

use anyhow::{Context, Result, bail, ensure};
use ipnet::Ipv4Net;

use super::config::{HostGroup, Network};

/// The longest name of a network interface.
const INTERFACE_NAME: usize = 15;
/// The longest documented tap prefix.
const TAP_PREFIX: usize = 14;

/// A host group, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// How many fixed VMs it has.
    pub(crate) count: u32,
    /// CPUs a VM: default and maximum.
    pub(crate) cpus: u32,
    /// Memory a VM: default and maximum.
    pub(crate) ram_bytes: u64,
    /// Graphics cards.
    pub(crate) gpu_count: u32,
    /// The disk's size in bytes, where the storage wants one.
    pub(crate) disk_bytes: u64,
    /// Whether the API's VMs persist when the request does not say.
    pub(crate) persistent: bool,
    /// The group's own userdata.
    pub(crate) userdata: Option<String>,
    /// The guests' name servers.
    pub(crate) dns_servers: Vec<String>,
    /// The bridge.
    pub(crate) bridge: String,
    /// What taps' names begin with.
    pub(crate) tap_prefix: String,
    /// The bridge's address and mask.
    pub(crate) gateway: Ipv4Net,
    /// The addresses that VMs may have, in order.
    pub(crate) pool: Vec<Ipv4Addr>,
}

impl Group {
    /// Checks a group of the YAML; relative files are sought in `base`.
    pub(crate) fn check(raw: &HostGroup, base: &Path) -> Result<Self> {
        let name = raw.name.trim().to_owned();
        ensure!(!name.is_empty(), "a host group has no name");
        ensure!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "host group `{name}`: the name has characters that no hostname may have"
        );
        Self::resolve(raw, name.clone(), base).with_context(|| format!("host group {name}"))
    }

    fn resolve(raw: &HostGroup, name: String, base: &Path) -> Result<Self> {
        ensure!(
            raw.network_name.is_none(),
            "CNI networks are not part of this stand-in"
        );
        let network = raw.network.as_ref().context("network is missing")?;
        let mode = network.mode.as_deref().unwrap_or("bridge");
        ensure!(
            mode == "bridge",
            "network mode `{mode}` is not part of this stand-in: use bridge"
        );
        let gateway: Ipv4Net = network
            .gateway
            .as_deref()
            .context("network.gateway is missing")?
            .parse()
            .context("network.gateway must be an address with its mask")?;
        ensure!(
            (8..=30).contains(&gateway.prefix_len()) && gateway.addr() != gateway.network(),
            "network.gateway {gateway} leaves no addresses for VMs"
        );
        let bridge = network
            .bridge
            .clone()
            .unwrap_or_else(|| format!("br{name}0"));
        ensure!(
            (1..=INTERFACE_NAME).contains(&bridge.len()),
            "failed to create bridge {bridge}: numerical result out of range"
        );
        let tap_prefix = network.tap_prefix.clone().unwrap_or_else(|| name.clone());
        ensure!(
            (1..=TAP_PREFIX).contains(&tap_prefix.len()),
            "tap_prefix {tap_prefix} is too long: at most {TAP_PREFIX} characters"
        );
        Ok(Self {
            count: raw.count.unwrap_or(1),
            cpus: raw.vcpu.unwrap_or(2).max(1),
            ram_bytes: ram(raw)?,
            gpu_count: raw.gpu_count.unwrap_or(0),
            disk_bytes: disk(raw)?,
            persistent: raw.persistent.unwrap_or(false),
            userdata: userdata(raw, base)?,
            dns_servers: raw
                .dns_servers
                .clone()
                .unwrap_or_else(|| vec!["8.8.8.8".to_owned(), "1.1.1.1".to_owned()]),
            pool: pool(network, gateway)?,
            name,
            bridge,
            tap_prefix,
            gateway,
        })
    }

    /// The network that VMs and bridge share.
    pub(crate) fn cidr(&self) -> Ipv4Net {
        self.gateway.trunc()
    }

    /// The tap of the VM with this number; too long a name is refused as the kernel would.
    pub(crate) fn tap(&self, number: u32) -> Result<String> {
        let name = format!("{}{number}", self.tap_prefix);
        ensure!(
            name.len() <= INTERFACE_NAME,
            "failed to create tap device {name}: numerical result out of range"
        );
        Ok(name)
    }
}

fn ram(raw: &HostGroup) -> Result<u64> {
    let given = [
        raw.ram_gb.and_then(|n| n.checked_mul(1 << 30)),
        raw.ram_mb.and_then(|n| n.checked_mul(1 << 20)),
        raw.ram_bytes,
    ];
    let given: Vec<u64> = given.into_iter().flatten().collect();
    match given.as_slice() {
        [] => Ok(4 << 30),
        [bytes] if *bytes > 0 => Ok(*bytes),
        [_] => bail!("the memory is zero"),
        _ => bail!("only one of ram_gb, ram_mb and ram_bytes may be set"),
    }
}

fn disk(raw: &HostGroup) -> Result<u64> {
    let size = raw.storage_size.as_deref().map(size).transpose()?;
    match raw.storage.as_deref().unwrap_or("devmapper") {
        "image" => size.context("storage_size is required for image storage"),
        "devmapper" if size.is_some() => {
            bail!("storage_size must not be set for devmapper storage")
        }
        other @ ("devmapper" | "zfs") => bail!(
            "storage `{other}`: snapshotter {other} is not configured in containerd (set `storage: image` and a storage_size)"
        ),
        other => bail!("unknown storage `{other}`"),
    }
}

fn size(text: &str) -> Result<u64> {
    let (digits, factor) = match text.trim().to_ascii_uppercase() {
        t if t.ends_with("GB") => (t[..t.len() - 2].to_owned(), 1 << 30),
        t if t.ends_with('G') => (t[..t.len() - 1].to_owned(), 1 << 30),
        t if t.ends_with('M') => (t[..t.len() - 1].to_owned(), 1 << 20),
        t => (t, 1),
    };
    let number: u64 = digits
        .parse()
        .with_context(|| format!("storage_size `{text}` is no size"))?;
    number
        .checked_mul(factor)
        .with_context(|| format!("storage_size `{text}` is too large"))
}

fn userdata(raw: &HostGroup, base: &Path) -> Result<Option<String>> {
    match (&raw.userdata, &raw.userdata_file) {
        (Some(_), Some(_)) => bail!("only one of userdata and userdata_file may be set"),
        (Some(text), None) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        (None, Some(file)) => {
            let path = base.join(file);
            std::fs::read_to_string(&path)
                .map(Some)
                .with_context(|| format!("failed to read userdata_file {}", path.display()))
        }
        (None, None) => Ok(None),
    }
}

fn pool(network: &Network, gateway: Ipv4Net) -> Result<Vec<Ipv4Addr>> {
    let inside = |address: Ipv4Addr| -> Result<Ipv4Addr> {
        ensure!(
            gateway.contains(&address) && address != gateway.addr(),
            "{address} is not an address that a VM behind {gateway} can have"
        );
        Ok(address)
    };
    if !network.addresses.is_empty() {
        return network
            .addresses
            .iter()
            .map(|text| inside(text.split('/').next().unwrap_or(text).parse()?))
            .collect();
    }
    if let Some(range) = &network.range {
        let (first, last) = range
            .split_once('-')
            .context("network.range is not first-last")?;
        let (first, last) = (
            inside(first.trim().parse()?)?,
            inside(last.trim().parse()?)?,
        );
        ensure!(first <= last, "network.range {range} is empty");
        return Ok((u32::from(first)..=u32::from(last))
            .map(Ipv4Addr::from)
            .filter(|&address| address != gateway.addr())
            .collect());
    }
    // A pool as large as a /16 is more than any host can run.
    Ok(gateway
        .hosts()
        .filter(|&address| address != gateway.addr())
        .take(65_536)
        .collect())
}
