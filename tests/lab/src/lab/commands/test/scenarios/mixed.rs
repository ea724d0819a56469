//! Hosts whose networks are not alike: networkd, `NetworkManager`, ifupdown, and one in a network of its own behind another's
//! NAT. Servers on both sides, pods on both sides, and routes that outlive each of these daemons.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_MIXED, CLUSTER_OF_THREE, Trial};
use super::farewell::LEFT;
use super::{INIT, UNHURRIED, changes_nothing, each_masquerade, healthy};
use crate::place::Place;
use crate::say;

/// The servers' networks by host, and those of the agents.
const NETWORKS: [(&str, &[&str]); 4] = [
    ("n100", &["192.168.137.0/24"]),
    ("ryzen", &["192.168.140.0/24"]),
    ("pi5", &["192.168.138.0/24"]),
    ("attic", &["192.168.139.0/24", "192.168.141.0/24"]),
];

/// What a person types when a network misbehaves, by host, and who hears it.
const AGAIN: [(&str, &str, &str); 6] = [
    (
        "n100",
        "networkd restarts",
        "systemctl restart systemd-networkd",
    ),
    (
        "n100",
        "networkd reconfigures",
        "networkctl reconfigure eth0",
    ),
    (
        "ryzen",
        "NetworkManager restarts",
        "systemctl restart NetworkManager",
    ),
    (
        "ryzen",
        "the connection goes down and up",
        "for _ in $(seq 50); do c=$(nmcli -g GENERAL.CONNECTION device show eth0); [ -n \"$c\" ] && break; sleep 0.2; done; nmcli connection down \"$c\"; nmcli connection up \"$c\"",
    ),
    ("pi5", "ifdown, ifup", "ifdown --force eth0; ifup eth0"),
    ("pi5", "networking restarts", "systemctl restart networking"),
];

/// Every route through another machine but the default one.
const ROUTED: &str = "ip route | grep ' via ' | grep -v ^default | sort; true";

/// Within so many seconds a route is back without us.
const BACK: Duration = Duration::from_secs(30);

/// Servers are whole again within this time, whatever became of their hosts and networks.
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    each_masquerade("mixed", "test-mixed", once)
}

fn once(trial: &Trial) -> Result<()> {
    CLUSTER_MIXED.write(trial)?;
    // Proven: a pod runs on a VM of each group, the one behind the NAT included.
    let done = trial.me(INIT)?.expect(0)?;
    say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
    healthy(trial)?;
    let routes = trial.me("slicer-k3s routes")?.expect(0)?.stdout;
    for part in ["10.20.0.2/32", "via 10.20.0.1", "via 192.168.1.12"] {
        if !routes.contains(part) {
            bail!("{part} is not told:\n{routes}");
        }
    }
    changes_nothing(trial, ("workstation", "me"), INIT, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0)?;
    again(trial)?;
    reboots(trial).context("reboots")?;
    agents_leave(trial).context("agents leave")?;
    nothing_stays(trial).context("destroy")?;
    enrolled(trial).context("enrolment")
}

/// Whatever the network's daemon does to routes that it does not know, they are back.
fn again(trial: &Trial) -> Result<()> {
    for (host, what, command) in AGAIN {
        trial.root(host, command)?.expect(0).context(what)?;
        let seconds = back(trial, host).with_context(|| format!("{what} on {host}"))?;
        say::line(format_args!("  {host}: {what}: back after {seconds:.0} s"));
    }
    settled(trial)
}

/// A server that lost the others for some seconds starts anew, and its member votes again a little later.
fn settled(trial: &Trial) -> Result<()> {
    let begin = Instant::now();
    while let Err(why) = trial.me("slicer-k3s status")?.expect(0) {
        if begin.elapsed() > PATIENCE {
            return Err(why);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let seconds = begin.elapsed().as_secs_f64();
    say::line(format_args!("  no drift {seconds:.0} s later"));
    Ok(())
}

/// The gateway has no server, and the others go on; those behind it are found again with it.
fn reboots(trial: &Trial) -> Result<()> {
    for host in ["ryzen", "attic"] {
        rebooted(trial, host)?;
        let seconds = back(trial, host).with_context(|| format!("{host} rebooted"))?;
        say::line(format_args!(
            "  {host}: rebooted: back after {seconds:.0} s"
        ));
    }
    settled(trial)?;
    // Kubernetes takes a Node for lost up to a minute after its host went, and for found when its kubelet has reported again.
    let begin = Instant::now();
    while let Err(why) = healthy(trial) {
        if begin.elapsed() > PATIENCE {
            return Err(why);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    // Pods still land on the other side.
    trial.me("slicer-k3s prove --yes")?.expect(0).map(drop)
}

/// Starts a host over, and waits until it is another boot's first process that answers.
fn rebooted(trial: &Trial, host: &str) -> Result<()> {
    let first = || trial.root(host, "ps -o lstart= -p 1");
    let before = first()?.expect(0)?.stdout;
    trial.fault(&["reboot", host])?;
    let begin = Instant::now();
    loop {
        // While it goes down nobody answers.
        if first().is_ok_and(|done| done.status == 0 && done.stdout != before) {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_mins(3) {
            bail!("{host} did not come up again");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A host's server goes on without the agents beside it, and nobody has a route to them any more.
fn agents_leave(trial: &Trial) -> Result<()> {
    trial
        .me("slicer-k3s remove-host attic --agents --yes")?
        .expect(0)?;
    healthy(trial)?;
    changes_nothing(trial, ("workstation", "me"), INIT, UNHURRIED)?;
    trial.me("slicer-k3s status")?.expect(0)?;
    let group = trial.root("attic", "ip -br link | grep ^brk3s-agent; true")?;
    let routes = trial.root("n100", "ip route | grep ^192.168.141; true")?;
    let left = group.stdout + &routes.stdout;
    if !left.trim().is_empty() {
        bail!("left of attic's agents:\n{left}");
    }
    Ok(())
}

/// What was made goes with the cluster, routes to hosts themselves and the gateway's table included.
fn nothing_stays(trial: &Trial) -> Result<()> {
    trial.me("slicer-k3s destroy --yes")?.expect(0)?;
    for (host, _) in NETWORKS {
        let left = format!("{LEFT}; {ROUTED}");
        let left = trial.root(host, &left)?.expect(0)?.stdout;
        if !left.trim().is_empty() {
            bail!("left on {host}:\n{left}");
        }
    }
    Ok(())
}

/// A host behind another comes and goes like any; its gateway does not go before it.
fn enrolled(trial: &Trial) -> Result<()> {
    CLUSTER_OF_THREE.write(trial)?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    let before = trial.root("n100", ROUTED)?.expect(0)?.stdout;
    trial
        .me("slicer-k3s add-host attic --ssh alex@10.20.0.2 --jump alex@192.168.1.12 --yes --accept-new-host-keys")?
        .expect(0)?;
    trial.me("slicer-k3s status")?.expect(0)?;
    let refused = trial.me("slicer-k3s remove-host ryzen --yes")?.expect(2)?;
    if !refused.stderr.contains("the gateway of attic") {
        bail!("the reason is not told:\n{}", refused.stderr);
    }
    trial.me("slicer-k3s remove-host attic --yes")?.expect(0)?;
    let after = trial.root("n100", ROUTED)?.expect(0)?.stdout;
    if after != before {
        bail!("n100 had the routes\n{before}and has\n{after}");
    }
    nothing_stays(trial)
}

/// Seconds until a host has a route to every network of the others.
fn back(trial: &Trial, host: &str) -> Result<f64> {
    let begin = Instant::now();
    let others = NETWORKS.iter().filter(|(other, _)| *other != host);
    let wanted: Vec<&str> = others
        .flat_map(|(_, networks)| *networks)
        .copied()
        .collect();
    let script = format!(
        "for net in {}; do ip route show \"$net\" | grep -q via || echo \"$net\"; done",
        wanted.join(" ")
    );
    loop {
        // A host that reboots answers nobody.
        let missing = match trial.root(host, &script) {
            Ok(done) if done.status == 0 => done.stdout,
            Ok(done) => done.text(),
            Err(why) => why.to_string(),
        };
        if missing.trim().is_empty() {
            return Ok(begin.elapsed().as_secs_f64());
        }
        if begin.elapsed() > BACK {
            bail!("after {} s no route to\n{missing}", BACK.as_secs());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
