//! An OCI layout on disk: blobs by digest, an index of named images.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::layer;
use super::recipes::Recipe;
use crate::digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// Fixed: digests must not depend on when an image was made.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// A layout being made.
pub(super) struct Layout {
    dir: PathBuf,
    named: Vec<Value>,
}

impl Layout {
    /// An empty layout in `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot make {}", blobs.display()))?;
        Ok(Self {
            dir: dir.to_owned(),
            named: Vec::new(),
        })
    }

    /// Adds an image; returns the descriptor of its index.
    pub(super) fn add(&mut self, recipe: &Recipe) -> Result<Value> {
        let new = NamedTempFile::new_in(&self.dir)?;
        let inside = layer::write(&recipe.items, new.path())?;
        let hex = digest::of_file(new.path())?;
        let size = new.path().metadata()?.len();
        new.persist(self.blob(&hex))?;
        let layer = json!({"mediaType": LAYER, "digest": format!("sha256:{hex}"), "size": size});
        let config = self.put(
            CONFIG,
            &json!({
                "created": CREATED,
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "Env": recipe.env,
                    "Entrypoint": recipe.entrypoint,
                    "Cmd": recipe.cmd,
                    "User": recipe.user,
                    "WorkingDir": recipe.directory,
                },
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{inside}")]},
                "history": [{"created": CREATED, "created_by": "internet images"}],
            }),
        )?;
        let manifest = self.put(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [layer],
            }),
        )?;
        // All machines of the lab are of one architecture; some present themselves as another.
        let manifests: Vec<Value> = ["amd64", "arm64"]
            .into_iter()
            .map(|architecture| {
                let mut entry = manifest.clone();
                entry["platform"] = json!({"architecture": architecture, "os": "linux"});
                entry
            })
            .collect();
        self.put(
            INDEX,
            &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}),
        )
    }

    /// Gives an image a full name.
    pub(super) fn name(&mut self, name: &str, image: &Value) {
        let mut named = image.clone();
        named["annotations"] = json!({REFERENCE: name});
        self.named.push(named);
    }

    /// Writes the index of named images.
    pub(super) fn finish(self) -> Result<()> {
        fs::write(
            self.dir.join("oci-layout"),
            json!({"imageLayoutVersion": "1.0.0"}).to_string(),
        )?;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.named});
        let mut new = NamedTempFile::new_in(&self.dir)?;
        serde_json::to_writer_pretty(new.as_file_mut(), &index)?;
        readable(new.as_file())?;
        new.persist(self.dir.join("index.json"))?;
        Ok(())
    }

    /// Stores a document; returns its descriptor.
    fn put(&self, kind: &str, document: &Value) -> Result<Value> {
        let bytes = serde_json::to_vec(document)?;
        let hex = digest::of(&bytes);
        fs::write(self.blob(&hex), &bytes)?;
        Ok(json!({"mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len()}))
    }

    fn blob(&self, hex: &str) -> PathBuf {
        self.dir.join("blobs/sha256").join(hex)
    }
}

/// Temporary files begin as 0600; a layout is for everybody to read.
fn readable(file: &File) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(file.set_permissions(fs::Permissions::from_mode(0o644))?)
}
