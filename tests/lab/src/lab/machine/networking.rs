//! What tells a machine how its network is: the lab's own file for the script that runs at every
//! boot, and the real configuration of the daemon that configures a host's eth0.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Result;

use super::furnish;
use crate::address::{self, PREFIX, Segment};
use crate::fleet::Daemon;

/// `NetworkManager` in a container finds no udev and takes every interface for its own, also
/// the VMs' cables: it would look for DHCP there. On a real host its udev rules exempt veth
/// pairs. eth1 is such a pair as well: prepare.sh configures it.
const MANAGER: &str = "[keyfile]
unmanaged-devices=type:veth,except:interface-name:eth0
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
    if daemon != Daemon::Lab {
        text.push_str("daemon=yes\n");
    }
    if let Some(inner) = inner {
        text.push_str(&format!("inside={}/{PREFIX}\n", inner.gateway()));
    }
    furnish::write(&upper.join("etc/slicer-lab/network"), text)?;
    let (path, text) = match daemon {
        Daemon::Lab => return Ok(()),
        Daemon::Networkd => (
            "etc/systemd/network/10-eth0.network",
            format!("[Match]\nName=eth0\n\n[Network]\nAddress={own}\nGateway={gateway}\n"),
        ),
        Daemon::Ifupdown => (
            "etc/network/interfaces",
            format!(
                "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n    address {own}\n    gateway {gateway}\n"
            ),
        ),
        Daemon::NetworkManager => {
            furnish::write(&upper.join("etc/NetworkManager/conf.d/lab.conf"), MANAGER)?;
            (
                "etc/NetworkManager/system-connections/eth0.nmconnection",
                format!(
                    "[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=manual\naddress1={own},{gateway}\ndns={};\n\n[ipv6]\nmethod=link-local\n",
                    address::INTERNET
                ),
            )
        }
    };
    let path = upper.join(path);
    furnish::write(&path, text)?;
    if daemon == Daemon::NetworkManager {
        // Others' eyes on it, and it is ignored: it could hold a password.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
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
