//! The registries: the part of the OCI distribution API that pulling needs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, ETAG, HeaderName, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::json;

use super::extra_images;
use crate::content::{Asked, Content};
use crate::digest;
use crate::names::Registry;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A manifest or an index in the store.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    /// Its media type.
    pub(super) media_type: String,
    /// Its digest, `sha256:…`.
    pub(super) digest: String,
    /// Its names.
    #[serde(default)]
    pub(super) annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// All images of all registries.
pub(super) struct Images {
    /// By full reference, `docker.io/library/busybox:latest`.
    tags: HashMap<String, Descriptor>,
    /// Directories of blobs by digest, the first one wins.
    stores: Vec<PathBuf>,
}

impl Images {
    /// Reads the layout; lays the archives of `extra` over it, unpacked into `unpacked`.
    pub(super) fn load(layout: &Path, extra: Option<&Path>, unpacked: &Path) -> Result<Self> {
        let file = layout.join("index.json");
        let text = fs::read(&file)
            .with_context(|| format!("no images at {}: run `internet images`", file.display()))?;
        let index: Index = serde_json::from_slice(&text)?;
        let mut tags = HashMap::new();
        for descriptor in index.manifests {
            if let Some(name) = descriptor.annotations.get(extra_images::REFERENCE) {
                tags.insert(name.clone(), descriptor);
            }
        }
        let mut stores = vec![layout.join("blobs/sha256")];
        if let Some(extra) = extra {
            tags.extend(extra_images::unpack_all(extra, unpacked)?);
            stores.push(unpacked.to_owned());
        }
        Ok(Self { tags, stores })
    }

    /// An answer of the API under `/v2/`, or a token.
    pub(super) fn answer(&self, registry: Registry, asked: &Asked) -> Content {
        if asked.path == "/token" {
            return token(asked);
        }
        let Some(path) = asked.path.strip_prefix("/v2/") else {
            return Content::not_found();
        };
        if let Some((realm, service)) = registry.realm
            && !asked.headers.contains_key(AUTHORIZATION)
        {
            return challenge(realm, service, path);
        }
        if path.is_empty() {
            return Content::new("application/json", "{}").header(VERSION, "registry/2.0".into());
        }
        let content = if let Some((repository, digest)) = path.rsplit_once("/blobs/") {
            self.known(registry, repository)
                .then(|| self.blob(digest))
                .flatten()
        } else if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
            self.manifest(registry, repository, reference)
        } else {
            path.strip_suffix("/tags/list")
                .and_then(|repository| self.list(registry, repository))
        };
        content
            .unwrap_or_else(|| {
                let code = if path.contains("/blobs/") {
                    "BLOB_UNKNOWN"
                } else {
                    "MANIFEST_UNKNOWN"
                };
                failure(StatusCode::NOT_FOUND, code, "not known to this registry")
            })
            .header(VERSION, "registry/2.0".into())
    }

    fn known(&self, registry: Registry, repository: &str) -> bool {
        let prefix = format!("{}/{repository}:", registry.prefix);
        self.tags.keys().any(|name| name.starts_with(&prefix))
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest
            .strip_prefix("sha256:")
            .filter(|hex| digest::is_hex(hex))?;
        self.stores
            .iter()
            .map(|store| store.join(hex))
            .find(|path| path.is_file())
    }

    fn blob(&self, digest: &str) -> Option<Content> {
        let content = Content::file("application/octet-stream", self.path(digest)?);
        Some(content.header(DIGEST, digest.to_owned()))
    }

    fn manifest(&self, registry: Registry, repository: &str, reference: &str) -> Option<Content> {
        let (kind, digest) = if reference.contains(':') {
            if !self.known(registry, repository) {
                return None;
            }
            (kind_of(&self.path(reference)?)?, reference)
        } else {
            let name = format!("{}/{repository}:{reference}", registry.prefix);
            let descriptor = self.tags.get(&name)?;
            (descriptor.media_type.clone(), descriptor.digest.as_str())
        };
        let content = Content::file(&kind, self.path(digest)?);
        Some(
            content
                .header(DIGEST, digest.to_owned())
                .header(ETAG, format!("\"{digest}\"")),
        )
    }

    fn list(&self, registry: Registry, repository: &str) -> Option<Content> {
        let prefix = format!("{}/{repository}:", registry.prefix);
        let mut tags: Vec<_> = self
            .tags
            .keys()
            .filter_map(|name| name.strip_prefix(&prefix))
            .collect();
        if tags.is_empty() {
            return None;
        }
        tags.sort_unstable();
        let body = json!({"name": repository, "tags": tags});
        Some(Content::new("application/json", body.to_string()))
    }
}

/// The media type of a stored manifest; `None` for other blobs, so that no layer passes for one.
fn kind_of(path: &Path) -> Option<String> {
    /// More is no manifest.
    const LIMIT: u64 = 4 << 20;
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
    }
    if fs::metadata(path).ok()?.len() > LIMIT {
        return None;
    }
    let shape: Shape = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    // OCI lets a manifest leave its type out.
    shape.media_type.or_else(|| {
        let kind = match (shape.manifests, shape.layers) {
            (Some(_), _) => "application/vnd.oci.image.index.v1+json",
            (None, Some(_)) => "application/vnd.oci.image.manifest.v1+json",
            (None, None) => return None,
        };
        Some(kind.to_owned())
    })
}

/// A token for whoever asks: public images only want it to be asked for.
pub(super) fn token(asked: &Asked) -> Content {
    let token = digest::of(asked.query.as_bytes());
    let body = json!({
        "token": token, "access_token": token, "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z",
    });
    Content::new("application/json", body.to_string())
}

fn challenge(realm: &str, service: &str, path: &str) -> Content {
    let repository = ["/blobs/", "/manifests/", "/tags/"]
        .into_iter()
        .find_map(|mark| path.rsplit_once(mark))
        .map(|(repository, _)| format!(",scope=\"repository:{repository}:pull\""));
    let wanted = format!(
        "Bearer realm=\"{realm}\",service=\"{service}\"{}",
        repository.unwrap_or_default()
    );
    failure(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        "ask for a token first",
    )
    .header(WWW_AUTHENTICATE, wanted)
    .header(VERSION, "registry/2.0".into())
}

fn failure(status: StatusCode, code: &str, message: &str) -> Content {
    let body = json!({"errors": [{"code": code, "message": message, "detail": null}]});
    Content::new("application/json", body.to_string()).status(status)
}
