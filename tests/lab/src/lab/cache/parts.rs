//! All that a fleet is made of, in the order in which one needs the other.

use std::path::PathBuf;

use anyhow::Result;

use super::{binaries, debian, images, kubernetes};
use crate::place::Place;

/// What the caller builds, without being root.
pub(crate) struct Programs {
    /// The Slicer stand-in.
    pub(crate) slicer: PathBuf,
    /// The Internet box.
    pub(crate) internet: PathBuf,
    /// The Go programs; none in a fleet without Internet.
    pub(crate) go: Option<PathBuf>,
}

/// Everything.
pub(crate) struct Parts {
    pub(crate) programs: Programs,
    /// The certificate authority's directory.
    pub(crate) authority: PathBuf,
    /// The Debian root.
    pub(crate) root: PathBuf,
    /// The registry's images; none in a fleet without Internet.
    pub(crate) images: Option<PathBuf>,
}

impl Programs {
    /// Builds what is missing.
    pub(crate) fn build(place: &Place, with_internet: bool) -> Result<Self> {
        Ok(Self {
            slicer: binaries::for_machines("slicer-k3s-lab", "slicer", false)?,
            internet: binaries::for_this_machine("slicer-k3s-lab", "internet")?,
            go: with_internet
                .then(|| kubernetes::binaries(place))
                .transpose()?,
        })
    }

    /// Makes, as root, what is still missing.
    pub(crate) fn complete(self, place: &Place) -> Result<Parts> {
        let authority = images::authority(place, &self.internet)?;
        let root = debian::root(place, &authority)?;
        let images = self
            .go
            .as_ref()
            .map(|go| images::layouts(place, &self.internet, go, &root))
            .transpose()?;
        Ok(Parts {
            programs: self,
            authority,
            root,
            images,
        })
    }
}
