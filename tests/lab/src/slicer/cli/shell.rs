//! `slicer vm shell`: interactive, on the daemon's own host.
//!
//! The original goes through the API's WebSocket, whose frames are not public; the stand-in enters the VM
//! directly, and so needs root on the host.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{args::ShellArgs, client::Client};
use crate::{
    host::{Places, variant::Variant},
    machine::{Entry, Machines, nspawn::Nspawn},
};

/// Replaces this process by a shell in the VM.
pub(crate) async fn run(client: &Client, order: ShellArgs) -> Result<u8> {
    let nodes = client.get("/nodes").await?;
    let names: Vec<&str> = nodes
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| node["hostname"].as_str())
        .collect();
    let hostname = match (&order.vm, names.as_slice()) {
        (Some(vm), _) if nodes_have(&nodes, vm) => vm.as_str(),
        (Some(vm), _) => bail!("VM {vm} not found"),
        (None, [only]) => only,
        (None, _) => bail!("name a VM: {}", names.join(", ")),
    };
    let places = Places::standard();
    let variant = Variant::read(&places.lab)?;
    let uid = order.uid.unwrap_or(1000);
    let entry = Entry {
        argv: vec![order.shell.into(), "--login".into()],
        uid,
        gid: uid,
        cwd: order.cwd,
        env: std::env::var("TERM")
            .map(|term| format!("TERM={term}"))
            .into_iter()
            .collect(),
    };
    let command = Nspawn::new(places, variant)?.enter(hostname, &entry)?;
    let error = command.into_std().exec();
    Err(error).context("failed to enter the VM (root on its host is needed)")
}

fn nodes_have(nodes: &Value, vm: &str) -> bool {
    nodes
        .as_array()
        .into_iter()
        .flatten()
        .any(|node| node["hostname"] == vm)
}
