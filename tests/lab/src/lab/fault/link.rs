//! Faults of cables and routes.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Fault, Undo, on};
use crate::network;
use crate::state::State;

/// What a machine's network manager does when the carrier is gone, where the machine has none.
const DISCONNECT: &str =
    ". /etc/slicer-lab/network; [ -n \"${daemon-}\" ] || ip link set eth0 down";
/// What it does when the carrier is back.
const RECONNECT: &str = ". /etc/slicer-lab/network; [ -n \"${daemon-}\" ] || { ip link set eth0 up && \
ip addr replace \"$address\" dev eth0 && ip route replace default via \"$gateway\"; }";

/// Removes a route, as somebody's hand or a restarted network service does.
pub(super) fn route_lost(fleet: &State, machine: &str, cidr: &str) -> Result<()> {
    on(fleet, machine, &["ip", "route", "del", cidr]).map(drop)
}

/// Pulls the cable; as with a real network manager, routes over it are gone (ifupdown is none).
pub(super) fn down(fleet: &State, machine: &str) -> Result<Fault> {
    pull(fleet, machine)?;
    let (what, machine) = ("its cable is pulled".to_owned(), machine.to_owned());
    Ok(Fault {
        what,
        machine,
        undo: vec![Undo::Plug],
    })
}

/// Pulls the cable and plugs it in again.
pub(super) fn flap(fleet: &State, machine: &str, ms: u64) -> Result<()> {
    pull(fleet, machine)?;
    std::thread::sleep(Duration::from_millis(ms));
    plug(fleet, machine)
}

/// Plugs the cable in.
pub(super) fn plug(fleet: &State, machine: &str) -> Result<()> {
    network::cable(&fleet.name, machine, true)?;
    on(fleet, machine, &["sh", "-c", RECONNECT]).map(drop)
}

fn pull(fleet: &State, machine: &str) -> Result<()> {
    fleet
        .machine(machine)
        .with_context(|| format!("{} has no cable of its own", machine.escape_default()))?;
    network::cable(&fleet.name, machine, false)?;
    on(fleet, machine, &["sh", "-c", DISCONNECT]).map(drop)
}
