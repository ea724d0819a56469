//! A VM's disk: an overlay over the lab's root, and directories of a real file system for container data.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::tool;
use crate::host::Places;

/// Directories that must not lie on the overlay: container runtimes make overlays of their own in them.
pub(crate) const DATA: [&str; 3] = ["rancher", "kubelet", "containerd"];

/// Marks a disk that has been prepared for its first boot.
const PREPARED: &str = "prepared";

/// The name under which the original keeps the disk, in the daemon's directory: removing it removes the disk.
pub(crate) fn image(places: &Places, hostname: &str) -> PathBuf {
    places.work.join(format!("{hostname}.img"))
}

/// Makes the disk where it is new, and mounts it; true when it is new.
pub(crate) async fn mount(places: &Places, hostname: &str, bytes: u64) -> Result<bool> {
    let directory = places.vm(hostname);
    unmount(&directory).await?;
    let image = image(places, hostname);
    // Half a preparation is none: its daemon was killed in the middle.
    let new = !directory.join(PREPARED).exists() || !image.exists();
    if new {
        clear(&directory)?;
        fs::File::create(&image)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("create {}", image.display()))?;
    }
    for name in ["upper", "overlay", "root"].iter().chain(&DATA) {
        fs::create_dir_all(directory.join(name)).with_context(|| format!("disk of {hostname}"))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        places.lab.join("root").display(),
        directory.join("upper").display(),
        directory.join("overlay").display()
    );
    let root = directory.join("root").display().to_string();
    tool::run(
        "mount",
        &["-t", "overlay", "overlay", "-o", &options, &root],
    )
    .await?;
    Ok(new)
}

/// From now on the disk is kept as it is.
pub(crate) fn prepared(directory: &Path) -> Result<()> {
    fs::write(directory.join(PREPARED), "").context("mark the disk as prepared")
}

/// Unmounts the disk, if it is mounted.
pub(crate) async fn unmount(directory: &Path) -> Result<()> {
    let root = directory.join("root").display().to_string();
    let mounted = || {
        fs::read_to_string("/proc/self/mounts").is_ok_and(|text| {
            text.lines()
                .any(|line| line.split(' ').nth(1) == Some(&*root))
        })
    };
    while mounted() {
        if tool::run("umount", &[&root]).await.is_err() {
            // Something still looks at it: it goes when that ends.
            tool::run("umount", &["--lazy", &root]).await?;
        }
    }
    Ok(())
}

/// Removes a VM's disk and records.
pub(crate) async fn discard(places: &Places, hostname: &str) -> Result<()> {
    let directory = places.vm(hostname);
    unmount(&directory).await?;
    let _ = fs::remove_file(image(places, hostname));
    let gone = directory.clone();
    // Thousands of files: not on a thread that answers requests.
    tokio::task::spawn_blocking(move || fs::remove_dir_all(&gone))
        .await?
        .or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(error)
            }
        })
        .with_context(|| format!("remove {}", directory.display()))
}

fn clear(directory: &Path) -> Result<()> {
    for name in ["upper", "overlay"].iter().chain(&DATA) {
        match fs::remove_dir_all(directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
