//! The addresses of the names, put on this namespace's loopback device.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Result, bail};

/// Puts addresses on `lo`, and brings it up.
pub(crate) fn add(addresses: impl Iterator<Item = Ipv4Addr>) -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    for address in addresses {
        // `replace`: a box that was restarted finds its addresses still there.
        ip(&["address", "replace", &format!("{address}/32"), "dev", "lo"])?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).output()?;
    if !done.status.success() {
        bail!(
            "`ip {}` failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    Ok(())
}
