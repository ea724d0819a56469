//! One host for everything: from a bare machine to a proven autoscaler, no secret in sight, nothing the second time, and nothing
//! left after `destroy`.

use anyhow::{Result, bail};

use super::super::canary::{self, Sampler};
use super::super::trial::Trial;
use super::{
    INIT, RERUN, changes_nothing, farewell, first_contact, generated, healthy, secrets, silent,
};
use crate::place::Place;

/// Runs it.
pub(super) fn run(place: &Place) -> Result<()> {
    let trial = Trial::up("one", "test-one", &[])?;
    first_contact::run(&trial)?;

    // Without a terminal nothing is asked and nothing is done.
    let asked = trial
        .me("slicer-k3s init --accept-new-host-keys </dev/null")?
        .expect(1)?;
    if !asked.text().contains("--yes") {
        bail!("no word of --yes:\n{}", asked.text());
    }

    let sampler = Sampler::start();
    let done = trial
        .me(&format!("{INIT} -vv --merge --context lab"))?
        .expect(0);
    let lines = sampler.stop()?;
    let done = done?;
    let secrets = secrets(&trial, &["n100"])?;
    silent(&done, &secrets)?;
    canary::check_lines(&lines, &secrets)?;
    let read = canary::check_files(&place.fleet(trial.name()), &secrets)?;
    if read < 100 {
        bail!("only {read} files were read: the machines' disks are elsewhere");
    }

    healthy(&trial)?;
    changes_nothing(&trial, ("workstation", "me"), INIT, RERUN)?;
    trial.me("slicer-k3s init --dry-run")?.expect(0)?;
    generated::same_bytes(&trial)?;
    generated::shown(&trial, &secrets)?;
    let merged = trial
        .me("stat -c %a ~/.kube/config && grep -c 'name: lab' ~/.kube/config")?
        .expect(0)?;
    if !merged.stdout.starts_with("600\n") {
        bail!("the merged kubeconfig is not 0600: {}", merged.stdout);
    }
    farewell::destroyed(&trial, "n100")
}
