//! Starting the Internet box: not a machine, but a program in a namespace of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::address;
use crate::cache::parts::Parts;
use crate::machine::enter;
use crate::network;
use crate::place::Place;
use crate::state::{Machine, State};

/// Folders of a person's own, laid over what the lab serves.
pub(crate) struct Extras {
    /// Image archives.
    pub(crate) images: Option<PathBuf>,
    /// Packed charts.
    pub(crate) charts: Option<PathBuf>,
}

/// Where the box keeps its faults and its log.
pub(crate) fn directory(fleet: &State) -> PathBuf {
    fleet.directory.join("internet")
}

/// Starts the box; it needs a moment to answer.
pub(crate) fn start(
    fleet: &State,
    machine: &Machine,
    parts: &Parts,
    extras: &Extras,
) -> Result<Child> {
    network::configure(&fleet.name, &machine.name, machine.address)?;
    crate::cgroup::make(&fleet.name, &machine.name)?;
    let directory = directory(fleet);
    std::fs::create_dir_all(directory.join("faults"))?;
    let (Some(go), Some(images)) = (&parts.programs.go, &parts.images) else {
        anyhow::bail!("a fleet without Internet has no Internet box");
    };
    let log = std::fs::File::create(directory.join("console.log"))?;
    let mut words = vec![parts.programs.internet.as_os_str(), "serve".as_ref()];
    let chart = Place::source().join("chart");
    for (option, value) in [
        ("--state", Some(&directory)),
        ("--ca-dir", Some(&parts.authority)),
        ("--bin-dir", Some(go)),
        ("--images", Some(images)),
        ("--chart", Some(&chart)),
        ("--slicer", Some(&parts.programs.slicer)),
        ("--extra-images", extras.images.as_ref()),
        ("--extra-charts", extras.charts.as_ref()),
    ] {
        if let Some(value) = value {
            words.extend([option.as_ref(), value.as_os_str()]);
        }
    }
    let inner = enter::command(fleet, &machine.name, &[])?;
    Command::new("setsid")
        .arg(inner.get_program())
        .args(inner.get_args())
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the Internet box")
}

/// Where it answers once it serves.
pub(crate) fn address() -> SocketAddr {
    SocketAddr::from((address::INTERNET, 53))
}
