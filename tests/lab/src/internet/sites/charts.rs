//! kubernetes.github.io: the autoscaler's chart repository.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use hyper::body::Bytes;
use serde::Serialize;

use super::package::{self, Package};
use crate::content::{Asked, Content};
use crate::digest;

const ROOT: &str = "/autoscaler/";
/// Fixed, so that the index is the same in every run.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// The repository, ready to serve.
pub(super) struct Charts {
    index: String,
    archives: BTreeMap<String, Bytes>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    api_version: &'static str,
    entries: BTreeMap<String, Vec<Entry>>,
    generated: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    api_version: &'static str,
    app_version: String,
    created: &'static str,
    description: String,
    digest: String,
    name: String,
    urls: Vec<String>,
    version: String,
}

impl Charts {
    /// Packs the lab's chart; charts of `extra` take the place of those of the same name.
    pub(super) fn load(chart: &Path, extra: Option<&Path>) -> Result<Self> {
        let mut packages = extra.map_or_else(|| Ok(Vec::new()), read_all)?;
        let own = package::pack(chart)?;
        if packages.iter().all(|p| p.about.name != own.about.name) {
            packages.push(own);
        }
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut archives = BTreeMap::new();
        for Package { about, archive } in packages {
            let file = format!("{}-{}.tgz", about.name, about.version);
            entries.entry(about.name.clone()).or_default().push(Entry {
                api_version: "v2",
                app_version: about.app_version,
                created: CREATED,
                description: about.description,
                digest: digest::of(&archive),
                name: about.name,
                urls: vec![format!("https://kubernetes.github.io{ROOT}{file}")],
                version: about.version,
            });
            archives.insert(file, archive.into());
        }
        let index = yaml_serde::to_string(&Index {
            api_version: "v1",
            entries,
            generated: CREATED,
        })?;
        Ok(Self { index, archives })
    }

    /// The index, or an archive.
    pub(super) fn answer(&self, asked: &Asked) -> Content {
        match asked.path.strip_prefix(ROOT) {
            Some("index.yaml") => Content::new("text/yaml", self.index.clone()),
            Some(file) => self
                .archives
                .get(file)
                .map_or_else(Content::not_found, |archive| {
                    Content::new("application/gzip", archive.clone())
                }),
            None => Content::not_found(),
        }
    }
}

fn read_all(dir: &Path) -> Result<Vec<Package>> {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "tgz"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| package::read(path).with_context(|| format!("{} is no chart", path.display())))
        .collect()
}
