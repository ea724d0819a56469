//! What each name serves.

mod channels;
mod charts;
mod extra_images;
pub(crate) mod package;
mod registry;
mod releases;

use std::path::PathBuf;

use anyhow::Result;
use hyper::body::Bytes;

use crate::content::{Asked, Content};
use crate::faults::Mode;
use crate::names::Site;
use crate::serve::Options;

const K3S_INSTALLER: &str = include_str!("../site/get.k3s.io.sh");
/// Takes the place of `%KILLALL%`: a file of its own, so that shellcheck sees it.
const K3S_KILLALL: &str = include_str!("../site/k3s-killall.sh");
const SLICER_INSTALLER: &str = include_str!("../site/get.slicervm.com.sh");

/// Where the installer goes on once the program is there, and how it ends there instead.
const WHOLE: &str = "    install_client\n    check_package_manager\n";
const HALF: &str =
    "    install_client\n    die 'E: Could not get lock /var/lib/dpkg/lock-frontend'\n";

/// Everything served, read once.
pub(crate) struct Sites {
    k3s_installer: Bytes,
    releases: releases::Releases,
    charts: charts::Charts,
    registry: registry::Images,
    slicer: PathBuf,
}

impl Sites {
    /// Reads what the options name.
    pub(crate) fn load(options: &Options) -> Result<Self> {
        Ok(Self {
            k3s_installer: K3S_INSTALLER.replace("%KILLALL%\n", K3S_KILLALL).into(),
            releases: releases::Releases::load(&options.bin_dir, options.state.join("releases"))?,
            charts: charts::Charts::load(&options.chart, options.extra_charts.as_deref())?,
            registry: registry::Images::load(
                &options.images,
                options.extra_images.as_deref(),
                &options.state.join("extra-images"),
            )?,
            slicer: options.slicer.clone(),
        })
    }

    /// A site's answer to a GET.
    pub(crate) fn answer(&self, site: Site, asked: &Asked, fault: Option<Mode>) -> Content {
        match site {
            Site::K3sInstaller => script(asked, self.k3s_installer.clone()),
            Site::SlicerInstaller if asked.path == "/slicer" => {
                Content::file("application/octet-stream", self.slicer.clone())
            }
            Site::SlicerInstaller if fault == Some(Mode::Half) => {
                script(asked, SLICER_INSTALLER.replacen(WHOLE, HALF, 1).into())
            }
            Site::SlicerInstaller => script(asked, Bytes::from_static(SLICER_INSTALLER.as_bytes())),
            Site::K3sChannels => channels::answer(asked),
            Site::Releases => {
                let chart = self.charts.archive(asked);
                chart.unwrap_or_else(|| releases::Releases::page(asked))
            }
            Site::ReleaseAssets => self.releases.asset(asked),
            Site::Charts => self.charts.answer(asked),
            Site::Registry(registry) => self.registry.answer(registry, asked),
            Site::HubTokens if asked.path == "/token" => registry::token(asked),
            Site::HubTokens => Content::not_found(),
        }
    }
}

fn script(asked: &Asked, text: Bytes) -> Content {
    if asked.path == "/" {
        Content::new("text/plain; charset=utf-8", text)
    } else {
        Content::not_found()
    }
}
