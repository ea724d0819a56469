//! github.com: release pages and downloads, by way of the redirect to the store of assets.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hyper::header::CONTENT_DISPOSITION;

use crate::content::{Asked, Content};
use crate::digest;

/// The one release: the k3s stand-in's version.
pub(super) const TAG: &str = "v1.34.4+k3s1";

const RELEASES: &str = "/k3s-io/k3s/releases";

/// The release's files.
pub(super) struct Releases {
    binary: PathBuf,
    digest: String,
}

impl Releases {
    /// Reads the k3s binary of `bin_dir`, which every architecture gets: all machines of the lab
    /// really have the same one.
    pub(super) fn load(bin_dir: &Path) -> Result<Self> {
        let binary = bin_dir.join("k3s");
        let digest = digest::of_file(&binary)
            .with_context(|| format!("cannot read the k3s binary {}", binary.display()))?;
        Ok(Self { binary, digest })
    }

    /// What github.com answers.
    pub(super) fn page(asked: &Asked) -> Content {
        if asked.path == format!("{RELEASES}/tag/{TAG}") {
            let title = format!("<title>Release {TAG}</title>\n");
            return Content::new("text/html; charset=utf-8", title);
        }
        match file(&asked.path, &format!("{RELEASES}/download/{TAG}/")) {
            Some(file) => Content::redirect(format!(
                "https://release-assets.githubusercontent.com/k3s/{}/{file}",
                TAG.replace('+', "%2B")
            )),
            None => Content::not_found(),
        }
    }

    /// What the store of assets answers.
    pub(super) fn asset(&self, asked: &Asked) -> Content {
        let Some(file) = file(&asked.path, &format!("/k3s/{TAG}/")) else {
            return Content::not_found();
        };
        let content = match file {
            "sha256sum-amd64.txt" => self.sums("k3s"),
            "sha256sum-arm64.txt" => self.sums("k3s-arm64"),
            _ => Content::file("application/octet-stream", self.binary.clone()),
        };
        content.header(CONTENT_DISPOSITION, format!("attachment; filename={file}"))
    }

    /// A checksum file of several lines, as the original's: a reader must pick the right one.
    fn sums(&self, name: &str) -> Content {
        let other = digest::of(name.as_bytes());
        let suffix = name.strip_prefix("k3s").unwrap_or_default();
        let images = match suffix {
            "" => "amd64",
            _ => "arm64",
        };
        let text = format!(
            "{other}  k3s-airgap-images-{images}.tar.zst\n{}  {name}\n",
            self.digest
        );
        Content::new("text/plain; charset=utf-8", text)
    }
}

/// The file that a path under `root` names, if the release has it.
fn file<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    const FILES: &[&str] = &[
        "k3s",
        "k3s-arm64",
        "sha256sum-amd64.txt",
        "sha256sum-arm64.txt",
    ];
    path.strip_prefix(root).filter(|file| FILES.contains(file))
}
