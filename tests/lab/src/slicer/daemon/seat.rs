//! How many daemons a licence allows on this host at once (T-05).

use std::fs;

use anyhow::{Context, Result, bail};

use crate::host::{Places, licence::Licence, variant::Variant};

/// This daemon's place among the host's daemons; given up when dropped.
#[derive(Debug)]
pub(crate) struct Seat(std::path::PathBuf);

impl Seat {
    /// Takes a seat, or refuses when the licence's are taken.
    pub(crate) fn take(places: &Places, licence: &Licence, variant: &Variant) -> Result<Self> {
        let directory = places.run.join("daemons");
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        let mut others = 0;
        for entry in fs::read_dir(&directory)?.flatten() {
            if fs::exists(format!("/proc/{}", entry.file_name().display())).unwrap_or(false) {
                others += 1;
            } else {
                let _ = fs::remove_file(entry.path());
            }
        }
        if let Some(limit) = variant
            .get("licence-daemons")
            .and_then(|text| text.parse::<usize>().ok())
            && others >= limit
        {
            bail!(
                "licence tier {} allows {limit} concurrent daemons, and {others} are running: stop one, or merge host groups",
                licence.tier
            );
        }
        let path = directory.join(std::process::id().to_string());
        fs::write(&path, "")?;
        Ok(Self(path))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
