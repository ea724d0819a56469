//! `slicer new`: prints a host YAML and touches nothing.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use yaml_serde::{Mapping, Value};

use super::args::New;
use crate::host::{Places, account, profile};

/// The YAML for these flags.
pub(crate) fn yaml(order: &New) -> Result<String> {
    let arch = profile::arch(&Places::standard().profile);
    render(
        order,
        &arch,
        if order.find_ssh_keys {
            found_keys()
        } else {
            Vec::new()
        },
    )
}

fn render(order: &New, arch: &str, mut keys: Vec<String>) -> Result<String> {
    ensure!(!order.hostgroup.is_empty(), "a host group needs a name");
    for key in &order.ssh_keys {
        keys.push(key_of(key)?);
    }
    let image = match (&order.image, order.min) {
        (Some(image), _) => image.clone(),
        (None, false) => profile::image(arch),
        (None, true) => profile::image("x86_64").replace("slicer-systemd:", "slicer-systemd-min:"),
    };
    let mut config = Mapping::new();
    put(
        &mut config,
        "host_groups",
        Value::Sequence(vec![Value::Mapping(group(order)?)]),
    );
    put(&mut config, "image", image);
    put(&mut config, "hypervisor", "firecracker");
    if let Some(graceful) = order.graceful_shutdown {
        put(&mut config, "graceful_shutdown", graceful);
    }
    if let Some(user) = &order.github {
        put(&mut config, "github_user", user.as_str());
    }
    if !keys.is_empty() {
        put(
            &mut config,
            "ssh_keys",
            Value::Sequence(keys.into_iter().map(Value::from).collect()),
        );
    }
    put(&mut config, "api", Value::Mapping(api(order)));
    let mut ssh = Mapping::new();
    put(&mut ssh, "port", u64::from(order.ssh_port));
    if order.ssh_port != 0 {
        put(&mut ssh, "bind_address", "0.0.0.0");
    }
    put(&mut config, "ssh", Value::Mapping(ssh));
    let mut file = Mapping::new();
    put(&mut file, "config", Value::Mapping(config));
    Ok(yaml_serde::to_string(&file)?)
}

fn group(order: &New) -> Result<Mapping> {
    let mut group = Mapping::new();
    put(&mut group, "name", order.hostgroup.as_str());
    put(&mut group, "storage", order.storage.as_str());
    let size = order
        .storage_size
        .clone()
        .or_else(|| (order.storage == "image").then(|| "25G".to_owned()));
    if let Some(size) = size {
        put(&mut group, "storage_size", size);
    }
    if let Some(persistent) = order.persistent {
        put(&mut group, "persistent", persistent);
    }
    put(&mut group, "count", u64::from(order.count));
    put(&mut group, "vcpu", u64::from(order.cpu));
    put(&mut group, "ram_gb", order.ram);
    if let Some(userdata) = &order.userdata {
        put(&mut group, "userdata", userdata.as_str());
    }
    if let Some(file) = &order.userdata_file {
        put(&mut group, "userdata_file", file.as_str());
    }
    put(&mut group, "network", Value::Mapping(network(order)?));
    Ok(group)
}

fn network(order: &New) -> Result<Mapping> {
    ensure!(
        order.net == "bridge",
        "--net {}: only bridge is part of this stand-in",
        order.net
    );
    let cidr: Ipv4Net = order
        .cidr
        .parse()
        .with_context(|| format!("--cidr {} is not a network", order.cidr))?;
    // `.1` whatever the network address was given as.
    let first = cidr
        .hosts()
        .next()
        .with_context(|| format!("--cidr {cidr} has no addresses"))?;
    let mut network = Mapping::new();
    put(&mut network, "mode", order.net.as_str());
    put(&mut network, "bridge", format!("br{}0", order.hostgroup));
    put(
        &mut network,
        "tap_prefix",
        order.tap_prefix.as_deref().unwrap_or(&order.hostgroup),
    );
    put(
        &mut network,
        "gateway",
        format!("{first}/{}", cidr.prefix_len()),
    );
    if let Some(range) = &order.range {
        put(&mut network, "range", range.as_str());
    }
    Ok(network)
}

fn api(order: &New) -> Mapping {
    let mut api = Mapping::new();
    let bind = order.socket.as_deref().unwrap_or(&order.api_bind);
    let socket = crate::daemon::settings::socket_path(bind).is_some();
    if !socket {
        put(&mut api, "port", u64::from(order.api_port));
    }
    put(&mut api, "bind_address", bind);
    let mut auth = Mapping::new();
    put(&mut auth, "enabled", order.api_auth.unwrap_or(!socket));
    put(&mut api, "auth", Value::Mapping(auth));
    api
}

fn put(mapping: &mut Mapping, key: &str, value: impl Into<Value>) {
    mapping.insert(Value::from(key), value.into());
}

/// The caller's public keys.
fn found_keys() -> Vec<String> {
    let Some(home) = account::homes().into_iter().next() else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(home.join(".ssh")) else {
        return Vec::new();
    };
    let mut keys: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "pub"))
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .map(|text| text.trim().to_owned())
        .filter(|key| !key.is_empty())
        .collect();
    keys.sort();
    keys
}

/// A key, or the content of the file that holds it.
fn key_of(text: &str) -> Result<String> {
    if text.contains(' ') && !Path::new(text).exists() {
        return Ok(text.to_owned());
    }
    let path = account::expand(text);
    std::fs::read_to_string(&path)
        .map(|key| key.trim().to_owned())
        .with_context(|| format!("--ssh-key {text}: neither a key nor a readable file"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        daemon::settings::Settings,
    };

    fn yaml_of(flags: &[&str], arch: &str) -> String {
        let cli = Cli::try_parse_from(["slicer", "new"].iter().chain(flags)).unwrap();
        let Command::New(order) = cli.command else {
            panic!("not new")
        };
        render(&order, arch, Vec::new()).unwrap()
    }

    /// The manual's two calls must print what `up` accepts, with the documented names in it.
    #[test]
    fn the_manuals_calls_print_what_up_reads() {
        let text = yaml_of(
            &[
                "k3s-cp",
                "--cpu",
                "2",
                "--ram",
                "4",
                "--count=3",
                "--cidr",
                "192.168.137.0/24",
            ],
            "x86_64",
        );
        let settings = Settings::parse(&text, Path::new(".")).unwrap();
        assert_eq!(settings.groups[0].count, 3);
        assert_eq!(settings.groups[0].bridge, "brk3s-cp0");
        assert_eq!(settings.groups[0].gateway.to_string(), "192.168.137.1/24");
        assert!(settings.auth && settings.console.is_some());
        let flags = [
            "k3s-agents-1",
            "--cpu",
            "2",
            "--ram",
            "4",
            "--cidr",
            "192.168.138.0/24",
            "--count=0",
            "--tap-prefix=k3sa1",
            "--api-bind=0.0.0.0",
            "--api-port=8081",
            "--find-ssh-keys=false",
            "--ssh-port=0",
        ];
        let text = yaml_of(&flags, "aarch64");
        assert!(
            text.contains("slicer-systemd-arm64:6.1.90-aarch64-latest"),
            "{text}"
        );
        let settings = Settings::parse(&text, Path::new(".")).unwrap();
        assert!(settings.console.is_none());
        assert_eq!(settings.groups[0].tap_prefix, "k3sa1");
    }
}
