//! Three hosts, one of which asks for a sudo password and one of which is a Raspberry Pi: killed once in the middle,
//! finished by the next run, routes healed, pods on every group.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, RERUN_OF_THREE, STATUS, changes_nothing, healthy, quick_look};
use crate::place::Place;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "test-three", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    let killed = trial.me(&format!("timeout -s KILL 20 {INIT}"))?;
    if killed.status == 0 {
        bail!("it was done before it could be killed");
    }
    trial.me(INIT)?.expect(0)?;
    healthy(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, RERUN_OF_THREE)?;

    quick_look(&trial, STATUS)?;
    let stop = "systemctl stop slicer-k3s-agent-1";
    trial.root("ryzen", stop)?.expect(0)?;
    let told = trial.me("slicer-k3s status")?.expect(4)?;
    if !told
        .stdout
        .contains("slicer-k3s-agent-1.service is not running")
    {
        bail!("a daemon that was stopped is not told:\n{}", told.stdout);
    }
    let start = "systemctl start slicer-k3s-agent-1";
    trial.root("ryzen", start)?.expect(0)?;

    // A lost route comes back without us.
    let route = trial.root(
        "pi5",
        "ip route del 192.168.137.0/24; ip route show 192.168.137.0/24",
    )?;
    if !route.expect(0)?.stdout.trim().is_empty() {
        bail!("the route could not be deleted");
    }
    let begin = Instant::now();
    while trial
        .root("pi5", "ip route show 192.168.137.0/24")?
        .stdout
        .trim()
        .is_empty()
    {
        if begin.elapsed() > Duration::from_secs(30) {
            bail!("a deleted route was not back after 30 s");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
