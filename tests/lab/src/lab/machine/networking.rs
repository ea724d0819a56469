//! What tells a machine how its network is: the lab's own file for the script that runs at every
//! boot, and the real configuration of the daemon that configures a host's eth0.

// Writing to a String cannot fail; the results of `writeln!` are dropped.
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Result;

use super::furnish;
use crate::address::{self, PREFIX, Segment};
use crate::fleet::Daemon;

/// `NetworkManager` takes a machine whose /sys is read-only for one without udev and every
/// interface for its own at once, eth0 included; but also the VMs' cables, where it would look
/// for DHCP, and eth1, which prepare.sh configures. On a real host udev's rules exempt veth
/// pairs. By driver: their type is "ethernet" to it.
const MANAGER: &str = "[keyfile]
unmanaged-devices=driver:veth;except:interface-name:eth0
";
/// The other half of a trick that prepare.sh explains: a /sys that can be written to.
const NETWORKD: &str = "[Service]
BindPaths=/run/slicer-lab/sys:/sys
";

/// Writes the files of the machine whose overlay's upper layer is `upper`.
pub(super) fn write(
    upper: &Path,
    address: Ipv4Addr,
    daemon: Daemon,
    inner: Option<Segment>,
) -> Result<()> {
    let own = format!("{address}/{PREFIX}");
    let gateway = Segment::of(address).gateway();
    let mut text = format!("address={own}\ngateway={gateway}\n");
    if let Some(word) = word(daemon) {
        let _ = writeln!(text, "daemon={word}");
    }
    if let Some(inner) = inner {
        let _ = writeln!(text, "inside={}/{PREFIX}", inner.gateway());
    }
    furnish::write(&upper.join("etc/slicer-lab/network"), text)?;
    let file = |path: &str, text: &str| furnish::write(&upper.join(path), text);
    match daemon {
        Daemon::Lab => Ok(()),
        Daemon::Networkd => {
            file(
                "etc/systemd/system/systemd-networkd.service.d/lab.conf",
                NETWORKD,
            )?;
            file(
                "etc/systemd/network/10-eth0.network",
                // Nobody advertises here; waiting for it would keep the interface from being "configured".
                &format!(
                    "[Match]\nName=eth0\n\n[Network]\nAddress={own}\nGateway={gateway}\nIPv6AcceptRA=no\n"
                ),
            )
        }
        Daemon::Ifupdown => file(
            "etc/network/interfaces",
            &format!(
                "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address {own}\n    gateway {gateway}\n"
            ),
        ),
        Daemon::NetworkManager => {
            file("etc/NetworkManager/conf.d/lab.conf", MANAGER)?;
            let path = "etc/NetworkManager/system-connections/eth0.nmconnection";
            // It writes resolv.conf, too.
            let text = format!(
                "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=manual\naddress1={own},{gateway}\ndns={};\n\n[ipv6]\nmethod=link-local\n",
                address::INTERNET
            );
            file(path, &text)?;
            // One that others may read is ignored: it could hold a password.
            std::fs::set_permissions(upper.join(path), std::fs::Permissions::from_mode(0o600))?;
            Ok(())
        }
    }
}

/// What the script at boot calls it.
fn word(daemon: Daemon) -> Option<&'static str> {
    match daemon {
        Daemon::Lab => None,
        Daemon::Networkd => Some("networkd"),
        Daemon::Ifupdown => Some("ifupdown"),
        Daemon::NetworkManager => Some("network-manager"),
    }
}

/// What is run once, before the first boot: the root has all of them off.
pub(super) fn setup(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Lab => "",
        Daemon::Networkd => "systemctl --quiet enable systemd-networkd.service\n",
        Daemon::Ifupdown => "systemctl --quiet enable networking.service\n",
        Daemon::NetworkManager => "systemctl --quiet enable NetworkManager.service\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NetworkManager` passes over a connection that others may read, and the host has no network.
    #[test]
    fn a_connection_is_for_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (upper, address) = (directory.path(), Ipv4Addr::new(192, 168, 1, 12));
        let inner = Some(Segment::Behind(0));
        write(upper, address, Daemon::NetworkManager, inner).unwrap();
        let path = upper.join("etc/NetworkManager/system-connections/eth0.nmconnection");
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_to_string(upper.join("etc/slicer-lab/network")).unwrap(),
            "address=192.168.1.12/24\ngateway=192.168.1.1\ndaemon=network-manager\ninside=10.20.0.1/24\n"
        );
    }

    /// A host behind another has that one, and not the LAN's box, for its router.
    #[test]
    fn an_inner_host_has_its_router_for_gateway() {
        let directory = tempfile::tempdir().unwrap();
        let address = Ipv4Addr::new(10, 20, 1, 2);
        write(directory.path(), address, Daemon::Ifupdown, None).unwrap();
        let text =
            std::fs::read_to_string(directory.path().join("etc/network/interfaces")).unwrap();
        assert!(text.contains("gateway 10.20.1.1\n"), "{text}");
    }
}
