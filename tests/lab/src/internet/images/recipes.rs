//! What is in each image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::layer::Item;

/// One image.
pub(super) struct Recipe {
    /// Its full names.
    pub(super) names: &'static [&'static str],
    /// What lies in its only layer.
    pub(super) items: Vec<Item>,
    /// What runs.
    pub(super) entrypoint: &'static [&'static str],
    /// With these arguments, unless a pod has its own.
    pub(super) cmd: &'static [&'static str],
    /// As this user; numeric, because `runAsNonRoot` cannot judge names.
    pub(super) user: &'static str,
    /// In this directory.
    pub(super) directory: &'static str,
    /// With these variables.
    pub(super) env: &'static [&'static str],
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Go looks here first.
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// All images, from the binaries of `bin` and the machines' `root`.
pub(super) fn all(bin: &Path, root: &Path) -> Result<Vec<Recipe>> {
    let certificates = || Item::file(CERTIFICATES, 0o644, root.join(CERTIFICATES));
    let program = |inside: &str, name: &str| Item::file(inside, 0o755, bin.join(name));
    Ok(vec![
        Recipe {
            items: vec![program("pause", "pause")],
            entrypoint: &["/pause"],
            user: "65535:65535",
            ..plain(&["docker.io/rancher/mirrored-pause:3.6"])
        },
        Recipe {
            items: vec![certificates(), program("coredns", "coredns")],
            entrypoint: &["/coredns"],
            ..plain(&["docker.io/rancher/mirrored-coredns-coredns:1.14.0"])
        },
        Recipe {
            items: vec![program("metrics-server", "metrics-server")],
            entrypoint: &["/metrics-server"],
            user: "65534",
            ..plain(&["docker.io/rancher/mirrored-metrics-server:v0.8.1"])
        },
        // These two only run: what they would do is not there.
        Recipe {
            items: vec![program("usr/bin/local-path-provisioner", "pause")],
            entrypoint: &["local-path-provisioner"],
            ..plain(&["docker.io/rancher/local-path-provisioner:v0.0.36"])
        },
        Recipe {
            items: vec![program("usr/local/bin/traefik", "pause")],
            entrypoint: &["traefik"],
            user: "65532",
            ..plain(&["docker.io/rancher/mirrored-library-traefik:3.7.4"])
        },
        Recipe {
            items: vec![
                certificates(),
                Item::text(
                    "etc/passwd",
                    "klipper-helm:x:1000:1000::/home/klipper-helm:/bin/false\n",
                ),
                Item::directory("home/klipper-helm", 0o755, 1000),
                Item::directory("tmp", 0o1777, 0),
                program("usr/bin/helm", "helm"),
                program("usr/bin/klipper-helm", "klipper-helm"),
            ],
            entrypoint: &["/usr/bin/klipper-helm"],
            user: "1000:1000",
            directory: "/home/klipper-helm",
            env: &[PATH, "HOME=/home/klipper-helm"],
            ..plain(&["docker.io/rancher/klipper-helm:v0.11.0-build20260602"])
        },
        busybox(root)?,
        Recipe {
            items: vec![
                certificates(),
                program("cluster-autoscaler", "cluster-autoscaler"),
            ],
            entrypoint: &["/cluster-autoscaler"],
            // distroless/static:nonroot.
            user: "65532:65532",
            ..plain(&[
                "ghcr.io/openfaasltd/cluster-autoscaler-slicer:latest",
                "docker.io/openfaasltd/cluster-autoscaler-slicer:latest",
            ])
        },
    ])
}

fn plain(names: &'static [&'static str]) -> Recipe {
    Recipe {
        names,
        items: Vec::new(),
        entrypoint: &[],
        cmd: &[],
        user: "",
        directory: "/",
        env: &[PATH],
    }
}

fn busybox(root: &Path) -> Result<Recipe> {
    let binary = find(root, &["bin/busybox", "usr/bin/busybox"])?;
    let listed = Command::new(&binary)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let mut items = vec![
        Item::file("bin/busybox", 0o755, binary),
        Item::text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        Item::text("etc/group", "root:x:0:\n"),
        Item::directory("root", 0o700, 0),
        Item::directory("tmp", 0o1777, 0),
    ];
    let applets = String::from_utf8_lossy(&listed.stdout).into_owned();
    let applets = applets
        .split_whitespace()
        .filter(|name| *name != "busybox" && !name.contains('/'));
    items.extend(applets.map(|name| Item::link(&format!("bin/{name}"), "busybox")));
    Ok(Recipe {
        items,
        cmd: &["sh"],
        ..plain(&["docker.io/library/busybox:latest"])
    })
}

/// Debian's /bin is a link whose target is absolute in some roots.
fn find(root: &Path, candidates: &[&str]) -> Result<PathBuf> {
    for candidate in candidates {
        let path = root.join(candidate);
        if fs::metadata(&path).is_ok_and(|about| about.is_file()) {
            return Ok(path);
        }
    }
    bail!(
        "no {} under {}: is busybox-static in the root?",
        candidates.join(", "),
        root.display()
    )
}
