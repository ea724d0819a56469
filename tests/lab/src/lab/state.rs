//! What a running fleet consists of, on disk: written before each thing is made, so
//! that `down` can also clear away what a killed `up` left.

use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::place::RUNNING;

/// A running fleet.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct State {
    /// What it was started as; names of namespaces and cgroups come from it.
    pub(crate) name: String,
    /// Its fleet file.
    pub(crate) fleet: String,
    /// Where its data lies.
    pub(crate) directory: PathBuf,
    /// Whether every machine came up.
    pub(crate) complete: bool,
    /// Its machines.
    pub(crate) machines: Vec<Machine>,
    /// The cache's entries that it is made of; unknown of a fleet that an older lab started.
    #[serde(default)]
    pub(crate) parts: Option<Vec<PathBuf>>,
}

/// One machine of a running fleet.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    /// Its hostname.
    pub(crate) name: String,
    /// Whether it is a host, and not the workstation or the Internet box.
    pub(crate) role: Role,
    /// Its address: on the LAN, or on the network behind the host that is its router.
    pub(crate) address: Ipv4Addr,
    /// Who a person logs in as.
    pub(crate) user: String,
    /// The process that carries it, once started.
    pub(crate) supervisor: Option<u32>,
}

/// What a machine is there for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Runs Slicer.
    Host,
    /// Where the product's commands are typed.
    Workstation,
    /// Is the Internet.
    Internet,
}

impl State {
    /// Writes it and lists the fleet among the running ones.
    pub(crate) fn save(&self) -> Result<()> {
        let listed = Path::new(RUNNING).join("fleets");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&listed)?;
        std::fs::create_dir_all(&self.directory)?;
        let text = serde_json::to_vec_pretty(self)?;
        for directory in [&self.directory.join("state.json"), &listed.join(&self.name)] {
            replace(directory, &text)?;
        }
        Ok(())
    }

    /// The running fleets, also those that are half up or half down.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut found = Vec::new();
        let Ok(entries) = std::fs::read_dir(Path::new(RUNNING).join("fleets")) else {
            return Ok(found);
        };
        for entry in entries {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            let state: Self = serde_json::from_str(&text)
                .with_context(|| format!("{} is not what the lab wrote", path.display()))?;
            found.push(state);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The fleet of this name, or the only one that is up.
    pub(crate) fn choose(name: Option<&str>) -> Result<Self> {
        let mut all = Self::all()?;
        let names = all
            .iter()
            .map(|state| state.name.clone())
            .collect::<Vec<_>>()
            .join(", ");
        match name {
            Some(name) => match all.into_iter().find(|state| state.name == name) {
                Some(state) => Ok(state),
                None if names.is_empty() => {
                    bail!("no fleet is up: start one with `cargo lab up --fleet {name}`")
                }
                None => bail!("fleet {name} is not up, but {names}"),
            },
            None if all.len() == 1 => Ok(all.remove(0)),
            None if all.is_empty() => bail!("no fleet is up: start one with `cargo lab up`"),
            None => bail!("several fleets are up: choose with --fleet among {names}"),
        }
    }

    /// The machine of this name.
    pub(crate) fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name == name)
    }

    /// The machine that the product's commands are typed on.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .iter()
            .filter(|machine| machine.role == Role::Host)
    }

    /// Where a machine's own things lie.
    pub(crate) fn machine_directory(&self, machine: &str) -> PathBuf {
        self.directory.join("machines").join(machine)
    }

    /// Takes the fleet off the list of running ones.
    pub(crate) fn forget(&self) -> Result<()> {
        gone(std::fs::remove_dir_all(&self.directory))
            .with_context(|| format!("cannot remove {}", self.directory.display()))?;
        gone(std::fs::remove_file(
            Path::new(RUNNING).join("fleets").join(&self.name),
        ))?;
        Ok(())
    }
}

/// Writes a file so that a reader sees the old or the new one, never half of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().context("a file without a directory")?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut file, content)?;
    file.persist(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
