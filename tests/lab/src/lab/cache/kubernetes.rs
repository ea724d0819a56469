//! The Go programs: the k3s stand-in around the real Kubernetes, and what its images hold.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Key, keyed};
use crate::exec::{output, visible};
use crate::place::Place;

/// The directory of the static binaries, built when there is none for these sources.
pub(crate) fn binaries(place: &Place) -> Result<PathBuf> {
    let module = Place::source().join("kubernetes");
    let mut go = Command::new("go");
    // A module may name a Go version of its own.
    let version = output(go.arg("version").current_dir(&module))?;
    let key = Key::new().with("go", version).with_files(&module)?.finish();
    let what = "Kubernetes and its images' programs (go; cold about 6 min, warm less than 1)";
    keyed(&place.cache.join("go"), &key, what, |draft| {
        visible(Command::new("sh").arg(module.join("build.sh")).arg(draft))
            .context("the Go module in tests/lab/kubernetes does not build")
    })
}
