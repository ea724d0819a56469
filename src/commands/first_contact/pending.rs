//! What a run of `init` begins with. A cluster.toml that flags asked for is not on the disk yet: what turns out to be wrong must not
//! stay.

use std::path::PathBuf;

use super::super::context::key_policy;
use super::{Known, without_file};
use crate::cli::Global;
use crate::config::Config;
use crate::escape::escape;
use crate::failure::{Failures, Result};
use crate::fleet::{self, Fleet};
use crate::report;

/// What to do instead of what flags asked for.
pub(in crate::commands) const CHANGE_THE_FLAGS: &str =
    "run it again with other options: no cluster.toml was written";

/// A file that is not written yet.
pub(super) struct Pending {
    path: PathBuf,
    text: String,
}

impl Pending {
    pub(super) fn new(path: PathBuf, text: String) -> Self {
        Self { path, text }
    }

    /// Shows what the file holds; `is` says whether it is there.
    pub(super) fn show(&self, is: &str) {
        let path = self.path.display().to_string();
        report::say(&format!("{} {is}:\n", escape(&path)));
        for line in self.text.lines() {
            report::say(&format!("    {}", escape(line)));
        }
        report::say("");
    }

    /// Writes it, and shows it.
    pub(super) fn write(&self) -> Result<()> {
        super::write(&self.path, &self.text, false)?;
        self.show("is written");
        Ok(())
    }
}

/// What a run of `init` begins with.
pub(in crate::commands) struct First {
    /// What cluster.toml says, or is going to say.
    pub(in crate::commands) config: Config,
    /// Machines that are connected already.
    pub(super) known: Known,
    /// The file that is to be written once the plan is agreed to.
    pub(super) pending: Option<Pending>,
}

impl First {
    /// Whether cluster.toml is on the disk.
    pub(in crate::commands) fn is_kept(&self) -> bool {
        self.pending.is_none()
    }

    /// Connects to the hosts. One that flags have just named and that does not answer is a slip, or off: only a host that is known
    /// already can be left out.
    pub(in crate::commands) async fn connect(
        &mut self,
        global: &Global,
    ) -> Result<Fleet, Failures> {
        let known = std::mem::take(&mut self.known);
        let fleet = fleet::connect_others(&self.config, &key_policy(global), known).await;
        if self.is_kept() {
            return fleet;
        }
        let failures = match fleet {
            Ok(fleet) if fleet.absent.is_empty() => return Ok(fleet),
            Ok(fleet) => fleet.absent.into_iter().map(|(_, why)| why).collect(),
            Err(failures) => failures,
        };
        Err(failures.into_iter().map(without_file::failure).collect())
    }

    /// Writes the file, if it is not there yet.
    pub(in crate::commands) fn write(&self) -> Result<()> {
        self.pending.as_ref().map_or(Ok(()), Pending::write)
    }
}
