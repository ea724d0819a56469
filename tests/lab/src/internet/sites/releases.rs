//! github.com: release pages and downloads, by way of the redirect to the store of assets.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use hyper::header::CONTENT_DISPOSITION;

use crate::content::{Asked, Content};
use crate::digest;

/// The release that channels lead to: the k3s stand-in's version.
pub(super) const TAG: &str = "v1.34.4+k3s1";

/// The patch release after it, as long as it is: the same program under that name, so that a server can be upgraded by
/// hand.
pub(super) const NEXT: &str = "v1.34.5+k3s1";

const RELEASES: &str = "/k3s-io/k3s/releases";

/// The releases' files.
pub(super) struct Releases {
    stable: Release,
    /// Made when first asked for: few fleets ever do.
    next: OnceLock<Option<Release>>,
    /// Where it is made.
    directory: PathBuf,
}

/// One release's program.
struct Release {
    binary: PathBuf,
    digest: String,
}

impl Releases {
    /// Reads the k3s binary of `bin_dir`, which every architecture gets: all machines of the lab
    /// really have the same one. Other releases are made of it in `directory`.
    pub(super) fn load(bin_dir: &Path, directory: PathBuf) -> Result<Self> {
        Ok(Self {
            stable: Release::read(bin_dir.join("k3s"))?,
            next: OnceLock::new(),
            directory,
        })
    }

    /// What github.com answers.
    pub(super) fn page(asked: &Asked) -> Content {
        for tag in [TAG, NEXT] {
            if asked.path == format!("{RELEASES}/tag/{tag}") {
                let title = format!("<title>Release {tag}</title>\n");
                return Content::new("text/html; charset=utf-8", title);
            }
            if let Some(file) = file(&asked.path, &format!("{RELEASES}/download/{tag}/")) {
                return Content::redirect(format!(
                    "https://release-assets.githubusercontent.com/k3s/{}/{file}",
                    tag.replace('+', "%2B")
                ));
            }
        }
        Content::not_found()
    }

    /// What the store of assets answers.
    pub(super) fn asset(&self, asked: &Asked) -> Content {
        if let Some(file) = file(&asked.path, &format!("/k3s/{TAG}/")) {
            return self.stable.file(file);
        }
        let Some(file) = file(&asked.path, &format!("/k3s/{NEXT}/")) else {
            return Content::not_found();
        };
        let made = || self.stable.called(NEXT, &self.directory).ok();
        match self.next.get_or_init(made) {
            Some(release) => release.file(file),
            None => Content::not_found(),
        }
    }
}

impl Release {
    fn read(binary: PathBuf) -> Result<Self> {
        let digest = digest::of_file(&binary)
            .with_context(|| format!("cannot read the k3s binary {}", binary.display()))?;
        Ok(Self { binary, digest })
    }

    /// The same program that says of itself that it is `tag`: a version is a constant text in it, so one of the same
    /// length can take its place.
    fn called(&self, tag: &str, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let binary = directory.join(format!("k3s-{tag}"));
        let input = File::open(&self.binary)?;
        let status = Command::new("sed")
            .arg(format!("s/{}/{tag}/g", TAG.replace('.', r"\.")))
            .env("LC_ALL", "C")
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(File::create(&binary)?))
            .status()
            .context("sed")?;
        if !status.success() {
            bail!("sed ended with {status}");
        }
        Self::read(binary)
    }

    fn file(&self, file: &str) -> Content {
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
