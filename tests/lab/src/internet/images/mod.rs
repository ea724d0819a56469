//! `internet images`: makes the images that the registry serves from static binaries.

mod layer;
mod layout;
mod recipes;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use layout::Layout;

/// Where the images come from and go to.
#[derive(Args)]
pub(crate) struct Options {
    /// The static binaries: pause, coredns, metrics-server, klipper-helm, helm, cluster-autoscaler.
    #[arg(long)]
    pub(crate) bin_dir: PathBuf,
    /// The lab's Debian root: busybox and the certificates that machines trust.
    #[arg(long)]
    pub(crate) root: PathBuf,
    /// The OCI layout to make.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

/// Makes the layout.
pub(crate) fn run(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make {}", options.out.display()))?;
    let mut layout = Layout::new(&options.out)?;
    for recipe in recipes::all(&options.bin_dir, &options.root)? {
        let image = layout
            .add(&recipe)
            .with_context(|| format!("cannot make image {}", recipe.names.join(", ")))?;
        for name in recipe.names {
            layout.name(name, &image);
        }
    }
    layout.finish()
}
