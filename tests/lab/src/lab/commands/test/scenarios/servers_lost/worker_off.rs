//! A host that has agents only is off while the cluster is founded: it is named, and the others go on.

use anyhow::{Result, bail};

use super::super::super::trial::{CLUSTER_OF_THREE, Trial};
use super::super::{INIT, UNHURRIED, UNPROVEN, changes_nothing, healthy};
use crate::place::Place;

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("three", "worker-off", &[])?;
    CLUSTER_OF_THREE.write(&trial)?;
    trial.fault(&["link-down", "pi5"])?;
    let without = trial.me(&format!("{INIT} --skip-proof"))?.expect(1)?;
    let text = without.text();
    let last = text.rfind("error[").map_or("", |at| &text[at..]);
    if !last.contains("pi5") {
        bail!("the host that is off is not named last:\n{text}");
    }
    healthy(&trial)?;
    trial.fault(&["clear", "pi5"])?;
    trial.me(&format!("{INIT} --skip-proof"))?.expect(0)?;
    healthy(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), UNPROVEN, UNHURRIED)
}
