//! k3s on servers restarts, and whole hosts do: the cluster has to come back by itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::Trial;
use super::voters;
use crate::say;

/// How long servers may take to vote again.
const LIMIT: Duration = Duration::from_mins(3);

/// Says when a machine was booted.
const BOOT: &str = "stat -c %Y /proc/1";

/// k3s on each of these servers restarts so often, one server after the other, each a Ready voter again before the next.
pub(super) fn each_server(trial: &Trial, servers: &[&str], times: usize) -> Result<()> {
    let begin = Instant::now();
    for round in 1..=times {
        for server in servers {
            one_server(trial, server).with_context(|| format!("restart {round} of {server}"))?;
        }
    }
    say::line(format_args!(
        "  each server restarted {times} times: {:.0} s",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// k3s on this server restarts; the servers are three Ready voters then.
pub(super) fn one_server(trial: &Trial, server: &str) -> Result<()> {
    trial
        .root(
            server,
            "timeout 180 systemctl restart k3s || { journalctl -u k3s -n 30 -o cat; exit 1; }",
        )?
        .expect(0)
        .context("k3s does not start")?;
    all_back(trial, &[server])
}

/// All hosts reboot at the same moment, as after a power cut.
pub(super) fn all_hosts(trial: &Trial, hosts: &[&str], servers: &[&str]) -> Result<()> {
    let begin = Instant::now();
    let boots = || servers.iter().map(|server| boot(trial, server));
    let before: Vec<Option<String>> = boots().collect();
    if before.iter().any(Option::is_none) {
        bail!("a server is down already");
    }
    // The seconds that tell one boot from the next.
    std::thread::sleep(Duration::from_secs(1));
    for host in hosts {
        trial.fault(&["reboot", host])?;
    }
    loop {
        let now: Vec<Option<String>> = boots().collect();
        let differs = |(old, new): (&Option<String>, &Option<String>)| new.is_some() && old != new;
        if before.iter().zip(&now).all(differs) {
            break;
        }
        if begin.elapsed() > LIMIT {
            bail!("not every server was booted again: {before:?}, {now:?}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    all_back(trial, servers)?;
    say::line(format_args!(
        "  all hosts rebooted: three voters after {:.0} s",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// When a machine was booted; `None` while it is down.
fn boot(trial: &Trial, machine: &str) -> Option<String> {
    let done = trial.root(machine, BOOT).ok()?;
    (done.status == 0).then(|| done.stdout.trim().to_owned())
}

/// Waits until k3s runs on these servers, their own APIs are ready, and all servers are Ready voters.
pub(super) fn all_back(trial: &Trial, servers: &[&str]) -> Result<()> {
    let begin = Instant::now();
    while let Err(error) = back(trial, servers) {
        if begin.elapsed() > LIMIT {
            return Err(error);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn back(trial: &Trial, servers: &[&str]) -> Result<()> {
    for server in servers {
        let ready = "systemctl is-active k3s && timeout 20 k3s kubectl get --raw /readyz";
        trial
            .root(server, ready)?
            .expect(0)
            .with_context(|| format!("{server} is not back"))?;
    }
    voters(trial).map(drop)
}
