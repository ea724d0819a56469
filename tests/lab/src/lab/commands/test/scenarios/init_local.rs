//! The workstation is the host (`ssh = "local"`): the same steps without SSH to itself.

use anyhow::Result;

use super::super::trial::Trial;
use super::{RERUN, changes_nothing};
use crate::place::Place;

/// The proof is the same steps as in the other scenarios.
const INIT: &str = "slicer-k3s init --yes --skip-proof";

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let trial = Trial::up("one", "test-local", &["n100"])?;
    let file = "name = \"home\"\n[control-plane]\nhosts = [\"n100\"]\nservers = 1\n[hosts.n100]\nssh = \"local\"\n";
    trial.put("n100", "/home/alex/cluster.toml", "0644", file.as_bytes())?;
    trial.as_user("n100", "alex", INIT)?.expect(0)?;
    trial
        .as_user("n100", "alex", "slicer-k3s kubectl get nodes")?
        .expect(0)?;
    changes_nothing(&trial, ("n100", "alex"), INIT, RERUN)
}
