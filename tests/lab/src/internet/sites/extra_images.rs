//! Image archives that somebody lays over the lab's own images.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use serde_json::json;
use tar::Archive;
use tempfile::NamedTempFile;

use super::registry::Descriptor;
use crate::digest;

/// The annotation that carries an image's full name in the lab's own layout.
pub(super) const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// The annotation that containerd and Docker put the full name into.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[derive(Deserialize)]
struct OciIndex {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Unpacks every archive of `dir` into `store`, by digest; returns the images by full name.
pub(super) fn unpack_all(dir: &Path, store: &Path) -> Result<HashMap<String, Descriptor>> {
    fs::create_dir_all(store).with_context(|| format!("cannot make {}", store.display()))?;
    let mut paths: Vec<_> = fs::read_dir(dir)
        .with_context(|| format!("cannot read {}", dir.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "tar"))
        .collect();
    paths.sort();
    let mut images = HashMap::new();
    for path in paths {
        let found = unpack(&path, store)
            .with_context(|| format!("{} is no archive of images", path.display()))?;
        images.extend(found);
    }
    Ok(images)
}

fn unpack(path: &Path, store: &Path) -> Result<HashMap<String, Descriptor>> {
    // Names inside the archive → digest and size in the store.
    let mut blobs = BTreeMap::new();
    let mut links = Vec::new();
    let mut archive = Archive::new(File::open(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        if let Some(target) = entry.link_name()? {
            // Docker links equal layers to each other, by names relative to the link.
            let target = target.to_string_lossy().replace("../", "");
            links.push((name, target));
        } else if entry.header().entry_type().is_file() {
            blobs.insert(name, keep(&mut entry, store)?);
        }
    }
    for (name, target) in links {
        if let Some(blob) = blobs.get(&target).cloned() {
            blobs.insert(name, blob);
        }
    }
    let read = |name: &str| -> Result<Vec<u8>> {
        let (hex, _) = blobs.get(name).ok_or_else(|| anyhow!("it has no {name}"))?;
        Ok(fs::read(store.join(hex))?)
    };
    let mut images = HashMap::new();
    if blobs.contains_key("index.json") {
        let index: OciIndex = serde_json::from_slice(&read("index.json")?)?;
        for descriptor in index.manifests {
            let names = [CONTAINERD_NAME, REFERENCE];
            let name = names
                .iter()
                .filter_map(|key| descriptor.annotations.get(*key))
                .find(|name| name.contains('/'));
            if let Some(name) = name {
                images.insert(full(name), descriptor.clone());
            }
        }
    }
    if images.is_empty() {
        let listed: Vec<DockerImage> = serde_json::from_slice(&read("manifest.json")?)?;
        for image in listed {
            let descriptor = docker(&image, &blobs, store)?;
            for tag in image.repo_tags.unwrap_or_default() {
                images.insert(full(&tag), descriptor.clone());
            }
        }
    }
    Ok(images)
}

/// Copies a blob into the store under its digest.
fn keep(from: &mut impl Read, store: &Path) -> Result<(String, u64)> {
    let mut new = NamedTempFile::new_in(store)?;
    let size = io::copy(from, new.as_file_mut())?;
    new.as_file_mut().seek(SeekFrom::Start(0))?;
    let hex = digest::of_reader(new.as_file_mut())?;
    new.persist(store.join(&hex))?;
    Ok((hex, size))
}

/// A docker archive has no manifest as a registry knows it: this makes one.
fn docker(
    image: &DockerImage,
    blobs: &BTreeMap<String, (String, u64)>,
    store: &Path,
) -> Result<Descriptor> {
    let find = |name: &String| {
        blobs
            .get(name)
            .ok_or_else(|| anyhow!("it lists {name} but does not hold it"))
    };
    let (config, config_size) = find(&image.config)?;
    let mut layers = Vec::new();
    for name in &image.layers {
        let (hex, size) = find(name)?;
        let mut magic = [0; 2];
        let gzip =
            File::open(store.join(hex))?.read_exact(&mut magic).is_ok() && magic == [31, 139];
        let kind = if gzip {
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        } else {
            "application/vnd.docker.image.rootfs.diff.tar"
        };
        layers.push(json!({"mediaType": kind, "size": size, "digest": format!("sha256:{hex}")}));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config_size,
            "digest": format!("sha256:{config}"),
        },
        "layers": layers,
    });
    let (hex, _) = keep(&mut manifest.to_string().as_bytes(), store)?;
    Ok(Descriptor {
        media_type: MANIFEST.to_owned(),
        digest: format!("sha256:{hex}"),
        annotations: HashMap::new(),
    })
}

/// `busybox` → `docker.io/library/busybox:latest`.
fn full(name: &str) -> String {
    let tagged = name
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'));
    let name = format!("{name}{}", if tagged { "" } else { ":latest" });
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name,
        Some(_) => format!("docker.io/{name}"),
    }
}
