//! kubernetes.github.io: the autoscaler's chart repository, whose index points to archives on github.com.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use hyper::body::Bytes;
use serde::Serialize;

use super::package::{self, Package};
use crate::content::{Asked, Content};
use crate::digest;

const ROOT: &str = "/autoscaler/";
/// Where the index says that archives are.
///
/// Source: kubernetes/autoscaler@gh-pages index.yaml.
const RELEASES: &str = "/kubernetes/autoscaler/releases/download/";
/// The versions that the lab's chart is published as, newest first, with what each installs: some of those that the original's
/// index has, and none that it has not (kubernetes/autoscaler@gh-pages index.yaml).
const PUBLISHED: [(&str, &str); 4] = [
    ("9.56.0", "1.35.0"),
    ("9.53.0", "1.34.2"),
    ("9.52.1", "1.34.1"),
    ("9.52.0", "1.34.1"),
];
/// Fixed, so that the index is the same in every run.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// The repository, ready to serve.
pub(super) struct Charts {
    index: String,
    /// By the path on github.com.
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
    /// Packs the lab's chart in each of its versions; charts of `extra` take the place of those of the same name.
    pub(super) fn load(chart: &Path, extra: Option<&Path>) -> Result<Self> {
        let mut packages = extra.map_or_else(|| Ok(Vec::new()), read_all)?;
        let own = package::about(chart)?.name;
        if packages.iter().all(|p| p.about.name != own) {
            for version in PUBLISHED {
                packages.push(package::pack(chart, Some(version))?);
            }
        }
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut archives = BTreeMap::new();
        for Package { about, archive } in packages {
            let path = format!(
                "{RELEASES}{0}-chart-{1}/{0}-{1}.tgz",
                about.name, about.version
            );
            entries.entry(about.name.clone()).or_default().push(Entry {
                api_version: "v2",
                app_version: about.app_version,
                created: CREATED,
                description: about.description,
                digest: digest::of(&archive),
                name: about.name,
                urls: vec![format!("https://github.com{path}")],
                version: about.version,
            });
            archives.insert(path, archive.into());
        }
        let index = yaml_serde::to_string(&Index {
            api_version: "v1",
            entries,
            generated: CREATED,
        })?;
        Ok(Self { index, archives })
    }

    /// What kubernetes.github.io answers: the index alone.
    pub(super) fn answer(&self, asked: &Asked) -> Content {
        match asked.path.strip_prefix(ROOT) {
            Some("index.yaml") => Content::new("text/yaml", self.index.clone()),
            _ => Content::not_found(),
        }
    }

    /// An archive, where github.com is asked for one of the repository's.
    pub(super) fn archive(&self, asked: &Asked) -> Option<Content> {
        let archive = self.archives.get(&asked.path)?;
        Some(Content::new("application/gzip", archive.clone()))
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
