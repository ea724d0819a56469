//! The bridge of a group and the wires of its VMs.

use anyhow::{Context, Result};

use super::tool;
use crate::{
    daemon::{group::Group, record::Record},
    machine::Launch,
};

const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// The network namespace of a VM.
pub(crate) fn namespace(hostname: &str) -> String {
    format!("slicer-{hostname}")
}

/// Makes the bridge with the gateway's address, forwarding and masquerading.
pub(crate) async fn open(group: &Group, public_only: bool) -> Result<()> {
    close(group).await?;
    let bridge = &group.bridge;
    let batch = format!(
        "link add {bridge} type bridge\naddr add {} broadcast + dev {bridge}\nlink set {bridge} up\n",
        group.gateway
    );
    tool::feed("ip", &["-batch", "-"], &batch)
        .await
        .with_context(|| format!("failed to create bridge {bridge}"))?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("switch ip_forward on")?;
    for rule in rules(group, public_only) {
        tool::run("iptables", &insert(&rule, "-A")).await?;
    }
    Ok(())
}

/// Removes what [`open`] made, also what a killed daemon left.
pub(crate) async fn close(group: &Group) -> Result<()> {
    for rule in rules(group, true).into_iter().chain(rules(group, false)) {
        // As often as it is there: killed daemons may have left several.
        for _ in 0..8 {
            if tool::run("iptables", &insert(&rule, "-D")).await.is_err() {
                break;
            }
        }
    }
    if std::path::Path::new("/sys/class/net")
        .join(&group.bridge)
        .exists()
    {
        tool::run("ip", &["link", "delete", &group.bridge]).await?;
    }
    Ok(())
}

/// A table, and a rule of it without the `-A CHAIN`.
type Rule = (&'static str, &'static str, Vec<String>);

fn rules(group: &Group, public_only: bool) -> Vec<Rule> {
    let (cidr, bridge) = (group.cidr().to_string(), group.bridge.clone());
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut rules = Vec::new();
    if public_only {
        for private in PRIVATE {
            rules.push((
                "nat",
                "POSTROUTING",
                words(format!("-s {cidr} -d {private} -j RETURN")),
            ));
        }
    }
    rules.push((
        "nat",
        "POSTROUTING",
        words(format!("-s {cidr} ! -o {bridge} -j MASQUERADE")),
    ));
    rules.push(("filter", "FORWARD", words(format!("-i {bridge} -j ACCEPT"))));
    rules.push(("filter", "FORWARD", words(format!("-o {bridge} -j ACCEPT"))));
    rules
}

fn insert<'a>((table, chain, rule): &'a Rule, verb: &'a str) -> Vec<&'a str> {
    let mut args = vec!["-w", "10", "-t", *table, verb, *chain];
    args.extend(rule.iter().map(String::as_str));
    args
}

/// A VM's hardware address: fixed by its address, or its neighbours' caches would be wrong after a restart.
fn hardware_address(record: &Record) -> String {
    let [a, b, c, d] = record.address.addr().octets();
    format!("06:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Wires a VM to its bridge.
pub(crate) async fn plug(launch: &Launch) -> Result<()> {
    let (record, tap) = (&launch.record, &launch.tap);
    let namespace = namespace(&record.hostname);
    unplug(&record.hostname).await;
    if std::path::Path::new("/sys/class/net").join(tap).exists() {
        tool::run("ip", &["link", "delete", tap]).await?;
    }
    tool::run("ip", &["netns", "add", &namespace]).await?;
    let batch = format!(
        "link add {tap} type veth peer name eth0 address {mac} netns {namespace}\n\
         link set {tap} master {bridge} up\n",
        mac = hardware_address(record),
        bridge = launch.group.bridge,
    );
    tool::feed("ip", &["-batch", "-"], &batch)
        .await
        .with_context(|| format!("failed to create tap device {tap}"))?;
    let batch = format!(
        "link set lo up\naddr add {} broadcast + dev eth0\nlink set eth0 up\nroute add default via {}\n",
        record.address,
        launch.group.gateway.addr(),
    );
    tool::feed("ip", &["-netns", &namespace, "-batch", "-"], &batch).await
}

/// Removes a VM's namespace, and its wire with it.
pub(crate) async fn unplug(hostname: &str) {
    let namespace = namespace(hostname);
    if std::path::Path::new("/run/netns").join(&namespace).exists() {
        let _ = tool::run("ip", &["netns", "delete", &namespace]).await;
    }
}
