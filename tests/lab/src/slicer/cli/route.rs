//! The routes that other machines need.

use std::{net::UdpSocket, path::Path};

use anyhow::{Result, bail};

use crate::{
    daemon::{banner, settings::Settings},
    say,
};

/// `slicer vm route FILE`.
pub(crate) fn print(config: &Path, os: Option<&str>) -> Result<()> {
    if let Some(os) = os
        && !matches!(os, "linux" | "darwin")
    {
        bail!("--os {os}: linux or darwin");
    }
    let settings = Settings::read(config)?;
    say::line(banner::routes(&settings, &lan_address(), os));
    Ok(())
}

/// The address by which this host reaches the Internet: nothing is sent to find it.
pub(crate) fn lan_address() -> String {
    let found = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("8.8.8.8:53")?;
        socket.local_addr()
    });
    found.map_or_else(
        |_| "127.0.0.1".to_owned(),
        |address| address.ip().to_string(),
    )
}
