//! Each server in turn loses its disk, the founding one first; `init` brings it back into its cluster.

use anyhow::{Context as _, Result};

use super::super::UNPROVEN;
use super::super::fingerprint::Fingerprint;
use super::super::home::{Home, Layout, ONE, SPREAD, THREE, says};
use crate::place::Place;

/// Fleet `one`.
pub(super) fn one(_: &Place) -> Result<()> {
    in_turn(&ONE, "lost-one")
}

/// Fleet `three`.
pub(super) fn three(_: &Place) -> Result<()> {
    in_turn(&THREE, "lost-three")
}

/// A server on each host.
pub(super) fn spread(_: &Place) -> Result<()> {
    in_turn(&SPREAD, "lost-spread")
}

fn in_turn(layout: &Layout, name: &str) -> Result<()> {
    let home = Home::found(layout, name)?;
    for server in home.servers {
        home.lose(server)?;
        home.init()
            .and_then(|_| home.settled())
            .with_context(|| format!("{server} lost its disk"))?;
    }
    Ok(())
}

/// Slicer makes a new disk at the daemon's start only, which takes the host's other servers down: not without permission. That it
/// does is known once it has refused to relaunch the VM; by then the kubeconfig may lead to another server.
pub(super) fn refused(_: &Place) -> Result<()> {
    let home = Home::found_as(&ONE, "lost-refused", "disk-lost=refused")?;
    for (server, others) in [
        (home.servers[0], [home.servers[1], home.servers[2]]),
        (home.servers[2], [home.servers[0], home.servers[1]]),
    ] {
        home.lose(server)?;
        let before = Fingerprint::of(&home)?;
        let asked = home.trial.me(UNPROVEN)?;
        says(
            &asked,
            &[1, 2],
            &["--allow-outage", server, others[0], others[1]],
        )
        .and_then(|()| before.cluster_unchanged(&home))
        .with_context(|| format!("{server} lost its disk, without permission"))?;
        // Its kubeconfig may have named the server that is gone.
        home.trial.me("slicer-k3s kubectl get nodes")?.expect(0)?;
        home.trial
            .me(&format!("{UNPROVEN} --allow-outage"))?
            .expect(0)
            .and_then(|_| home.settled())
            .with_context(|| format!("{server} lost its disk, with permission"))?;
    }
    Ok(())
}
