//! Three hosts, one of which asks for a sudo password and one of which is a Raspberry Pi: killed once in the middle,
//! finished by the next run, routes healed, pods on every group.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::{INIT, RERUN_OF_THREE, changes_nothing, healthy};
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
