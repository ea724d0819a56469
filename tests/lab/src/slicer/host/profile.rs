//! What the machine presents itself as: a stand-in for `uname -m` on disguised hosts.

use std::path::Path;

use serde::Deserialize;

#[derive(Deserialize)]
struct Profile {
    arch: Option<String>,
}

/// The host's architecture as `uname -m` would say it.
pub(crate) fn arch(profile: &Path) -> String {
    std::fs::read_to_string(profile)
        .ok()
        .and_then(|text| serde_json::from_str::<Profile>(&text).ok())
        .and_then(|profile| profile.arch)
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The architecture as Go spells it.
pub(crate) fn go_arch(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The root file system image for an architecture.
pub(crate) fn image(arch: &str) -> String {
    if arch == "aarch64" {
        "ghcr.io/openfaasltd/slicer-systemd-arm64:6.1.90-aarch64-latest".to_owned()
    } else {
        "ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest".to_owned()
    }
}
