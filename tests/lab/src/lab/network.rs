//! Network namespaces: one for the LAN's bridge, one for each machine, a cable between.
//! No interface ever lies in the namespace of whoever calls: nothing leaks out, and
//! two fleets can have the same addresses.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::address::{self, Segment};
use crate::exec::{command, output};

/// Where `ip netns` keeps namespaces.
const NAMESPACES: &str = "/run/netns";

/// A machine's network namespace.
pub(crate) fn namespace(fleet: &str, machine: &str) -> String {
    // `_` is in no name, so no fleet's prefix is the beginning of another's.
    format!("lab_{fleet}_{machine}")
}

/// The file that stands for a namespace.
pub(crate) fn file(namespace: &str) -> PathBuf {
    Path::new(NAMESPACES).join(namespace)
}

/// The bridge of a network. All lie in the LAN's namespace, so that every cable has one end
/// there, wherever it leads; a bridge without addresses does not join them.
fn bridge(segment: Segment) -> String {
    match segment {
        Segment::Lan => "lan".to_owned(),
        // A dot is in no machine's name.
        Segment::Behind(number) => format!("in.{number}"),
    }
}

/// Makes the networks.
pub(crate) fn make_bridges(fleet: &str, segments: &[Segment]) -> Result<()> {
    let lan = namespace(fleet, "lan");
    ip(&["netns", "add", &lan])?;
    for segment in segments {
        let bridge = bridge(*segment);
        ip(&["-n", &lan, "link", "add", &bridge, "type", "bridge"])?;
        ip(&["-n", &lan, "link", "set", &bridge, "up"])?;
    }
    Ok(())
}

/// Makes a machine's namespace and plugs its cable in. Addresses are the machine's own business.
pub(crate) fn make_machine(fleet: &str, machine: &str, address: Ipv4Addr) -> Result<()> {
    let own = namespace(fleet, machine);
    ip(&["netns", "add", &own])?;
    plug(fleet, &own, machine, "eth0", address)?;
    ip(&["-n", &own, "link", "set", "lo", "up"])
}

/// Plugs a gateway host into the network behind it as well.
pub(crate) fn make_gateway(fleet: &str, machine: &str, address: Ipv4Addr) -> Result<()> {
    let own = namespace(fleet, machine);
    plug(fleet, &own, &format!("{machine}.1"), "eth1", address)
}

fn plug(fleet: &str, own: &str, far: &str, near: &str, address: Ipv4Addr) -> Result<()> {
    let lan = namespace(fleet, "lan");
    let (mac, bridge) = (address::mac(address), bridge(Segment::of(address)));
    let cable = ["-n", &lan, "link", "add", far, "type", "veth", "peer"];
    let end = ["name", near, "address", &mac, "netns", own];
    ip(&[&cable[..], &end].concat())?;
    ip(&["-n", &lan, "link", "set", far, "master", &bridge, "up"])
}

/// Configures a namespace that has no machine of its own to do it: the Internet box.
pub(crate) fn configure(fleet: &str, machine: &str, address: Ipv4Addr) -> Result<()> {
    let own = namespace(fleet, machine);
    let address = format!("{address}/{}", address::PREFIX);
    ip(&["-n", &own, "addr", "add", &address, "dev", "eth0"])?;
    ip(&["-n", &own, "link", "set", "eth0", "up"])
}

/// Pulls or plugs a machine's cable at the LAN's end.
pub(crate) fn cable(fleet: &str, machine: &str, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    ip(&[
        "-n",
        &namespace(fleet, "lan"),
        "link",
        "set",
        machine,
        state,
    ])
}

/// The namespaces of a fleet that exist, whoever made them and however that ended.
pub(crate) fn of_fleet(fleet: &str) -> Vec<String> {
    let prefix = namespace(fleet, "");
    std::fs::read_dir(NAMESPACES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

/// Removes all namespaces of a fleet.
pub(crate) fn clear(fleet: &str) -> Result<()> {
    of_fleet(fleet)
        .iter()
        .try_for_each(|name| ip(&["netns", "del", name]))
}

/// Whether a machine's own SSH server greets, tried once inside its namespace; by the
/// machine's address, which a daemon may give it later than the server starts.
pub(crate) fn greets(namespace: &Path, address: Ipv4Addr) -> Result<()> {
    inside(namespace, move || {
        let stream = connect(SocketAddr::from((address, 22)))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut line = String::new();
        BufReader::new(std::io::Read::take(stream, 200)).read_line(&mut line)?;
        if !line.starts_with("SSH-") {
            bail!("it greets with {:?}", line.trim_end());
        }
        Ok(())
    })
}

/// Whether anything takes a connection, tried once inside a namespace.
pub(crate) fn answers(namespace: &Path, address: SocketAddr) -> Result<()> {
    inside(namespace, move || connect(address).map(drop))
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    Ok(TcpStream::connect_timeout(
        &address,
        Duration::from_secs(1),
    )?)
}

/// Entering a namespace is for a thread's life: give it a thread of its own.
fn inside(namespace: &Path, work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let namespace = std::fs::File::open(namespace).context("its network namespace is gone")?;
    std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
    .join()
    .map_err(|_| anyhow!("the thread that looked died"))?
}

fn ip(arguments: &[&str]) -> Result<()> {
    output(&mut command("ip", arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `down` finds a fleet's namespaces by prefix: another fleet's must not match.
    #[test]
    fn prefixes_tell_fleets_apart() {
        assert!(namespace("one", "n100").starts_with(&namespace("one", "")));
        assert!(!namespace("one-b", "n100").starts_with(&namespace("one", "")));
    }
}
