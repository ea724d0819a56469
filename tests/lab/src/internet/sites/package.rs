//! Packs a chart's directory into the archive that Helm downloads, always into the same bytes.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::Deserialize;
use tar::{Archive, Builder, EntryType, Header};

/// What the index tells of a chart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// The chart's name.
    pub(crate) name: String,
    /// The chart's version.
    pub(crate) version: String,
    /// The version of what it installs.
    #[serde(default)]
    pub(crate) app_version: String,
    /// A sentence.
    #[serde(default)]
    pub(crate) description: String,
}

/// A chart and its archive.
pub(crate) struct Package {
    /// What Chart.yaml says.
    pub(crate) about: About,
    /// The gzipped tar.
    pub(crate) archive: Vec<u8>,
}

/// What the Chart.yaml in `dir` says.
pub(crate) fn about(dir: &Path) -> Result<About> {
    let file = dir.join("Chart.yaml");
    yaml_serde::from_str(&text(&file)?).with_context(|| format!("{} is no chart", file.display()))
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("no chart at {}", file.display()))
}

/// Packs the chart in `dir`, as another version of it and of what it installs where one is given.
pub(crate) fn pack(dir: &Path, version: Option<(&str, &str)>) -> Result<Package> {
    let file = dir.join("Chart.yaml");
    let mut text = text(&file)?;
    if let Some((chart, app)) = version {
        let line = |line: &str| match line.split_once(':') {
            Some(("version", _)) => format!("version: {chart}\n"),
            Some(("appVersion", _)) => format!("appVersion: {app}\n"),
            _ => format!("{line}\n"),
        };
        text = text.lines().map(line).collect();
    }
    let about: About =
        yaml_serde::from_str(&text).with_context(|| format!("{} is no chart", file.display()))?;
    let mut paths = Vec::new();
    collect(dir, &mut paths)?;
    paths.sort();
    // The header of a gzip member names no file and no time unless told to.
    let gzip = GzBuilder::new().write(Vec::new(), Compression::default());
    let mut tar = Builder::new(gzip);
    for path in paths {
        let content = if path == file {
            text.clone().into_bytes()
        } else {
            fs::read(&path)?
        };
        let inside = Path::new(&about.name).join(path.strip_prefix(dir)?);
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        tar.append_data(&mut header, inside, content.as_slice())?;
    }
    let archive = tar.into_inner()?.finish()?;
    Ok(Package { about, archive })
}

/// Reads an archive that somebody else packed.
pub(crate) fn read(path: &Path) -> Result<Package> {
    /// A chart is kilobytes; more is no chart.
    const LIMIT: u64 = 20 << 20;
    let mut archive = Vec::new();
    fs::File::open(path)?
        .take(LIMIT)
        .read_to_end(&mut archive)?;
    let mut tar = Archive::new(GzDecoder::new(archive.as_slice()).take(LIMIT));
    for entry in tar.entries()? {
        let mut entry = entry?;
        let inside = entry.path()?.into_owned();
        if inside.components().count() == 2 && inside.ends_with("Chart.yaml") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            let about = yaml_serde::from_str(&text)?;
            return Ok(Package { about, archive });
        }
    }
    Err(anyhow!("no Chart.yaml in {}", path.display()))
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else {
            into.push(path);
        }
    }
    Ok(())
}
