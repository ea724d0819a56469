//! Faults: one small file a broken name, read again at each request.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::names::Name;

/// How a name misbehaves.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Connections are reset before a byte is served; DNS still answers.
    #[serde(rename = "unreachable")]
    Unreachable,
    /// Every request fails.
    #[serde(rename = "500")]
    Error,
    /// Half of every body is sent, then the connection ends.
    #[serde(rename = "truncate")]
    Truncate,
    /// Downloads arrive complete, with some bytes changed.
    #[serde(rename = "badsum")]
    BadSum,
    /// Slicer's installer stops once the program is there, as where a package manager is busy.
    #[serde(rename = "half")]
    Half,
    /// Answers start late and trickle.
    #[serde(rename = "slow")]
    Slow,
}

#[derive(Deserialize)]
struct Fault {
    mode: Mode,
}

/// The directory of fault files.
#[derive(Clone, Debug)]
pub(crate) struct Faults(PathBuf);

impl Faults {
    /// The faults described in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// How `name` misbehaves now. A file that cannot be read (half-written, say) is no fault.
    pub(crate) fn of(&self, name: &Name) -> Option<Mode> {
        [Some(name.host), name.shares_faults_with]
            .into_iter()
            .flatten()
            .find_map(|host| {
                let text = std::fs::read(self.0.join(format!("name-{host}.json"))).ok()?;
                let fault: Fault = serde_json::from_slice(&text).ok()?;
                Some(fault.mode)
            })
    }
}
