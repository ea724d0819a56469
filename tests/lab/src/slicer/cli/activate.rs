//! `slicer activate`: writes a licence file that this stand-in takes for one.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::{Context, Result};

use crate::{host::licence::Licence, say, time};

/// How long a key of this kind holds.
const DAYS: i64 = 30;

/// Writes the file.
pub(crate) fn run(license_file: Option<PathBuf>) -> Result<()> {
    let path = license_file.unwrap_or_else(Licence::default_path);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("create {}", directory.display()))?;
    }
    let expires = time::date_of(time::today() + DAYS);
    let text = format!("name: Lab User\ntier: Individual\nexpires: {expires}\n");
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    say::line(format!(
        "License written to {}, expires {expires}",
        path.display()
    ));
    Ok(())
}
