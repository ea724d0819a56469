//! Routes that heal by themselves, follow a host to another address, take a hand-made unit's place, and are told to
//! whoever else needs them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, UNHURRIED, changes_nothing};
use crate::place::Place;
use crate::say;

/// The manual's unit and script, for the daemons of another cluster: where a route leads to already, no VMs are put.
const BY_HAND: &str = r"printf '#!/bin/bash\nip route replace 192.168.99.0/24 via 192.168.1.11\n' >/root/add-routes.sh
chmod +x /root/add-routes.sh
printf '[Unit]\nDescription=Add slicer routes\n[Service]\nType=oneshot\nExecStart=/root/add-routes.sh\nRemainAfterExit=true\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/slicer-routes.service
systemctl -q enable --now slicer-routes.service";

/// Within so many seconds a route is back without us.
const BACK: f64 = 30.0;

/// The servers' network.
const SERVERS: &str = "192.168.137.0/24";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-routes", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.root("pi5", BY_HAND)?.expect(0)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    others(&trial).context("another cluster's routes")?;
    told(&trial).context("what is told")?;
    heal(&trial).context("healing")?;
    moved(&trial).context("another address")
}

/// A unit of somebody else's runs on beside ours.
fn others(trial: &Trial) -> Result<()> {
    let there = "grep -l add-routes.sh /etc/systemd/system/slicer-routes.service; ls /etc/systemd/system/*.before-slicer-k3s \
        2>/dev/null; systemctl is-active slicer-routes slicer-k3s-routes; ip route show 192.168.99.0/24 | grep -c via";
    let seen = trial.root("pi5", there)?.stdout;
    if seen != "/etc/systemd/system/slicer-routes.service\nactive\nactive\n1\n" {
        bail!("the hand-made unit was touched, or ours does not run:\n{seen}");
    }
    Ok(())
}

/// The table, and commands that can be pasted.
fn told(trial: &Trial) -> Result<()> {
    let table = trial.me("slicer-k3s routes")?.expect(0)?.stdout;
    for who in ["n100", "ryzen", "pi5", "workstation", "router"] {
        if !table.lines().any(|line| line == who) {
            bail!("nothing for {who}:\n{table}");
        }
    }
    // The keeper would do it too.
    trial
        .root(
            "ryzen",
            &format!("systemctl stop slicer-k3s-routes; ip route del {SERVERS}"),
        )?
        .expect(0)?;
    let commands = trial
        .me("slicer-k3s routes print --for ryzen")?
        .expect(0)?
        .stdout;
    trial.root("ryzen", &commands)?.expect(0)?;
    let back = format!("ip route show {SERVERS} | grep -q 'via 192.168.1.11'");
    trial.root("ryzen", &back)?.expect(0).context(commands)?;
    // What it found wrong it mends, and nothing else.
    trial.me("slicer-k3s routes apply --dry-run")?.expect(3)?;
    trial.me("slicer-k3s routes apply </dev/null")?.expect(1)?;
    trial.me("slicer-k3s routes apply --yes")?.expect(0)?;
    trial
        .root("ryzen", "systemctl is-active slicer-k3s-routes")?
        .expect(0)?;
    // Nothing to change is nothing to agree to.
    changes_nothing(
        trial,
        ("workstation", "me"),
        "slicer-k3s routes apply",
        UNHURRIED,
    )?;
    let commands = trial.me("slicer-k3s routes print")?.expect(0)?.stdout;
    trial.root("workstation", &commands)?.expect(0)?;
    let answers = "curl -sk -m 5 -o /dev/null -w '%{http_code}' https://192.168.137.2:6443/healthz";
    let answered = trial.me(answers)?.expect(0).context(commands)?;
    if !answered.stdout.starts_with(['2', '4']) {
        bail!(
            "the workstation does not reach the API: {}",
            answered.stdout
        );
    }
    Ok(())
}

/// Deleted, unplugged, rebooted: back without us.
fn heal(trial: &Trial) -> Result<()> {
    trial.fault(&["route-lost", "pi5", SERVERS])?;
    let deleted = back(trial, "pi5")?;
    trial.fault(&["link-flap", "ryzen"])?;
    let flapped = back(trial, "ryzen")?;
    trial.fault(&["reboot", "pi5"])?;
    // Until it can be looked at, it is down.
    std::thread::sleep(Duration::from_secs(1));
    let begin = Instant::now();
    while trial
        .root("pi5", "systemctl is-active ssh")
        .is_ok_and(|done| done.status != 0)
    {
        if begin.elapsed() > Duration::from_mins(2) {
            bail!("pi5 did not come up again");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let rebooted = back(trial, "pi5")?;
    say::line(format_args!(
        "  back after {deleted:.0} s (deleted), {flapped:.0} s (link), {rebooted:.0} s (reboot)"
    ));
    Ok(())
}

/// Seconds until a machine has its route to the servers.
fn back(trial: &Trial, machine: &str) -> Result<f64> {
    let begin = Instant::now();
    loop {
        let route = trial.root(machine, &format!("ip route show {SERVERS}"))?;
        let seconds = begin.elapsed().as_secs_f64();
        if route.status == 0 && route.stdout.contains("via 192.168.1.11") {
            return Ok(seconds);
        }
        if seconds > BACK {
            bail!("{machine} has no route to {SERVERS} after {seconds:.0} s");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A host that got another address is named, and everybody's routes follow it.
fn moved(trial: &Trial) -> Result<()> {
    let address = "192.168.1.23";
    trial
        .root(
            "pi5",
            &format!(
                "sed -i s/192.168.1.13/{address}/ /etc/slicer-lab/network; . /etc/slicer-lab/network; \
                 ip addr flush dev eth0; ip addr add \"$address\" dev eth0; \
                 ip route replace default via \"$gateway\""
            ),
        )?
        .expect(0)?;
    let old = trial.me("slicer-k3s status")?;
    if old.status != 1 || !old.text().contains("192.168.1.13") {
        bail!("the old address is not named:\n{}", old.text());
    }
    trial
        .me(&format!("sed -i s/192.168.1.13/{address}/ cluster.toml"))?
        .expect(0)?;
    // By another address it is a stranger to known_hosts.
    let told = trial
        .me("slicer-k3s status --accept-new-host-keys")?
        .expect(4)?;
    if !told.stdout.contains(address) {
        bail!("the new address is not named:\n{}", told.stdout);
    }
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    for host in ["n100", "ryzen"] {
        let routes = trial.root(host, "ip route show; cat /etc/slicer-k3s/routes.d/home")?;
        let text = routes.expect(0)?.stdout;
        if text.contains("192.168.1.13") || text.matches(address).count() != 2 {
            bail!("{host}'s routes did not follow:\n{text}");
        }
    }
    trial.me("slicer-k3s status")?.expect(0).map(drop)
}
