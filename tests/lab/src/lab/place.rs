//! Where things are: the cache, the source tree, the list of running fleets.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Which fleets are up, for every user of this machine: names of namespaces and
/// cgroups are the machine's, whatever cache a fleet came from.
pub(crate) const RUNNING: &str = "/run/slicer-k3s-lab";

/// The lab's cache and the source tree that fills it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `LAB_CACHE`.
    pub(crate) cache: PathBuf,
}

impl Place {
    /// Finds the cache: `LAB_CACHE`, or the user's own cache directory.
    pub(crate) fn find() -> Result<Self> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = match (
            variable("LAB_CACHE"),
            variable("XDG_CACHE_HOME"),
            variable("HOME"),
        ) {
            (Some(cache), _, _) => cache,
            (None, Some(xdg), _) => xdg.join("slicer-k3s-lab"),
            (None, None, Some(home)) => home.join(".cache/slicer-k3s-lab"),
            (None, None, None) => {
                anyhow::bail!("neither LAB_CACHE nor HOME is set: set LAB_CACHE to a directory")
            }
        };
        std::fs::create_dir_all(&cache)
            .with_context(|| format!("cannot make the lab's cache in {}", cache.display()))?;
        Ok(Self {
            cache: cache.canonicalize()?,
        })
    }

    /// The lab's own source: this crate.
    pub(crate) fn source() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// The whole source tree.
    pub(crate) fn workspace() -> &'static Path {
        Self::source().ancestors().nth(2).unwrap_or(Self::source())
    }

    /// The fleet files.
    pub(crate) fn fleets() -> PathBuf {
        Self::source().join("fleets")
    }

    /// A running fleet's data.
    pub(crate) fn fleet(&self, name: &str) -> PathBuf {
        self.cache.join("fleets").join(name)
    }
}
