//! The certificate authority and the images of the lab's Internet, made by the program that serves them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Key, keyed};
use crate::exec::output;
use crate::place::Place;

/// The lab's certificate authority: made once, since every root trusts it.
pub(crate) fn authority(place: &Place, internet: &Path) -> Result<PathBuf> {
    let directory = place.cache.join("ca");
    if !directory.join("ca.pem").exists() {
        output(Command::new(internet).args(["ca", "--dir"]).arg(&directory))?;
    }
    Ok(directory)
}

/// What the registry serves.
pub(crate) fn layouts(place: &Place, internet: &Path, go: &Path, root: &Path) -> Result<PathBuf> {
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let key = Key::new()
        .with("go", name(go).unwrap_or_default())
        .with("root", name(root).unwrap_or_default())
        .with_files(&Place::source().join("src/internet/images"))?
        .finish();
    keyed(
        &place.cache.join("images"),
        &key,
        "images for the registry",
        |draft| {
            let mut command = Command::new(internet);
            command
                .arg("images")
                .arg("--bin-dir")
                .arg(go)
                .arg("--root")
                .arg(root);
            output(command.arg("--out").arg(draft))
                .map(drop)
                .context("the images could not be made")
        },
    )
}
