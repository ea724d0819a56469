//! Rust programs of this tree, for this machine and for the lab's machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::exec::{command, output, visible};
use crate::place::Place;
use crate::preconditions::prepared;
use crate::say;

/// The C library of the machines' Debian.
const MACHINES_GLIBC: (u32, u32) = (2, 36);

/// Builds a program that runs inside machines; where it is.
pub(crate) fn for_machines(package: &str, name: &str, release: bool) -> Result<PathBuf> {
    let mut target = target_directory()?;
    let mut cargo = cargo(package, name, release);
    if newer_than_machines() {
        // A machine's Debian lacks this machine's newer C library: link it in, in a
        // directory of its own, since other flags would rebuild everything each time.
        target = target.join("machines");
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        cargo
            .args(["--target", &triple])
            .arg("--target-dir")
            .arg(&target);
        // With an explicit target these flags do not reach build scripts and macros.
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        target = target.join(triple);
    } else {
        cargo.arg("--target-dir").arg(&target);
    }
    build(cargo, name)?;
    Ok(target
        .join(if release { "release" } else { "debug" })
        .join(name))
}

/// Builds a program that runs on this machine; where it is.
pub(crate) fn for_this_machine(package: &str, name: &str) -> Result<PathBuf> {
    let target = target_directory()?;
    let mut cargo = cargo(package, name, false);
    cargo.arg("--target-dir").arg(&target);
    build(cargo, name)?;
    Ok(target.join("debug").join(name))
}

fn build(mut cargo: Command, name: &str) -> Result<()> {
    // As root through sudo the caller has built it already.
    if prepared() {
        return Ok(());
    }
    say::line(format_args!(
        "· {name} (cargo; quick unless its source changed) …"
    ));
    visible(&mut cargo)
}

fn cargo(package: &str, name: &str, release: bool) -> Command {
    let mut cargo = nested_cargo();
    cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
    if release {
        cargo.arg("--release");
    }
    cargo
}

/// cargo, called by a program that cargo runs.
pub(crate) fn nested_cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(Place::workspace());
    // `cargo run` tells its program which package it belongs to. Build scripts that
    // look at these (ring's does) would run again each time, and all that depends on them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|start| text.starts_with(start))
        {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The directory that this program itself was built in.
fn target_directory() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).map(PathBuf::from);
    target.with_context(|| format!("{} lies in no target directory", own.display()))
}

fn newer_than_machines() -> bool {
    let told = output(&mut command("getconf", &["GNU_LIBC_VERSION"])).unwrap_or_default();
    // Not glibc, or unknown: linking the C library in is always right.
    glibc(&told).is_none_or(|version| version > MACHINES_GLIBC)
}

fn glibc(told: &str) -> Option<(u32, u32)> {
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program linked to a newer C library does not start in a machine at all.
    #[test]
    fn newer_c_libraries_are_recognised() {
        assert_eq!(glibc("glibc 2.36\n"), Some((2, 36)));
        assert!(glibc("glibc 2.41") > Some(MACHINES_GLIBC));
        assert!(glibc("glibc 2.4") < Some(MACHINES_GLIBC));
        assert_eq!(glibc("musl"), None);
    }
}
