//! Faults of SSH: refused by the packet filter, or slow and cut off by a proxy in between.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{Fault, Undo, on};
use crate::machine::enter;
use crate::state::State;

/// Where the proxy listens in the machine's network namespace.
const PORT: &str = "2022";
const REFUSE: [&str; 9] = [
    "INPUT",
    "-p",
    "tcp",
    "--dport",
    "22",
    "-j",
    "REJECT",
    "--reject-with",
    "tcp-reset",
];
const REDIRECT: [&str; 9] = [
    "PREROUTING",
    "-p",
    "tcp",
    "--dport",
    "22",
    "-j",
    "REDIRECT",
    "--to-ports",
    PORT,
];

/// Connections are refused; established ones are reset at their next packet.
pub(super) fn refused(fleet: &State, machine: &str) -> Result<Fault> {
    filter(fleet, machine, "filter", "-I", &REFUSE)?;
    let undo = vec![rule("filter", &REFUSE)];
    Ok(Fault {
        what: "SSH is refused".to_owned(),
        machine: machine.to_owned(),
        undo,
    })
}

/// New connections are reset after a while, in the middle of whatever they do.
pub(super) fn reset(fleet: &State, machine: &str, after_ms: u64) -> Result<Fault> {
    let what = format!("SSH is reset after {after_ms} ms");
    proxied(fleet, machine, "--reset-after-ms", after_ms, what)
}

/// Whatever is sent on new connections arrives late.
pub(super) fn slow(fleet: &State, machine: &str, ms: u64) -> Result<Fault> {
    proxied(
        fleet,
        machine,
        "--delay-ms",
        ms,
        format!("SSH is {ms} ms late each way"),
    )
}

fn proxied(fleet: &State, machine: &str, option: &str, ms: u64, what: String) -> Result<Fault> {
    // Outside the machine's file system, inside its network: the proxy is this program.
    let (own, ms) = (std::env::current_exe()?, ms.to_string());
    let own = own.to_str().context("this program's path is no text")?;
    let inner = enter::network_only(fleet, machine, &[own, "proxy", "--port", PORT, option, &ms])?;
    let child = Command::new("setsid")
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the proxy")?;
    let mut undo = vec![Undo::Kill(child.id())];
    filter(fleet, machine, "nat", "-I", &REDIRECT)?;
    undo.insert(0, rule("nat", &REDIRECT));
    Ok(Fault {
        what,
        machine: machine.to_owned(),
        undo,
    })
}

fn filter(fleet: &State, machine: &str, table: &str, action: &str, rule: &[&str]) -> Result<()> {
    let mut words = vec!["iptables", "-w", "-t", table, action];
    words.extend(rule);
    on(fleet, machine, &words).map(drop)
}

fn rule(table: &str, rule: &[&str]) -> Undo {
    let start = ["iptables", "-w", "-t", table, "-D"];
    Undo::Run(
        start
            .iter()
            .chain(rule)
            .map(|word| (*word).to_owned())
            .collect(),
    )
}
