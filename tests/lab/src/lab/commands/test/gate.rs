//! Checks that need no machine: form, lints, dependencies, unit tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Check;
use crate::cache;
use crate::exec::{command, exists, output, visible};
use crate::place::Place;
use crate::say;

/// The dependency checker's version; built once into the cache.
const DENY: &str = "0.20.2";

/// In the order of what is cheapest to find out.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::quick("rustfmt", rustfmt),
        Check::quick("gofmt", gofmt),
        Check::quick("shellcheck", shellcheck),
        Check::quick("words", words),
        Check::quick("cargo-deny", deny),
        Check::quick("clippy", clippy),
        Check::quick("unit-tests", unit_tests),
        Check::long("fuzz", fuzz),
        Check::quick("go-vet", go_vet),
        Check::quick("go-tests", go_tests),
        Check::quick("leaks", leaks),
    ]
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = crate::cache::binaries::nested_cargo();
    cargo.args(arguments);
    cargo
}

fn rustfmt(_: &Place) -> Result<()> {
    visible(&mut cargo(&["fmt", "--all", "--check"]))
}

fn clippy(_: &Place) -> Result<()> {
    visible(&mut cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit_tests(_: &Place) -> Result<()> {
    visible(&mut cargo(&["test", "--quiet", "--workspace"]))
}

/// More than a million hostile inputs, shared by ten targets; the unit tests try a few hundred of each.
fn fuzz(_: &Place) -> Result<()> {
    let mut test = cargo(&[
        "test",
        "--quiet",
        "--profile",
        "fuzz",
        "--package",
        "slicer-k3s",
        "--lib",
        "fuzz_",
    ]);
    visible(test.env("SLICER_K3S_FUZZ", "120000"))
}

fn kubernetes() -> PathBuf {
    Place::source().join("kubernetes")
}

fn gofmt(_: &Place) -> Result<()> {
    let wrong = output(command("gofmt", &["-l", "."]).current_dir(kubernetes()))?;
    if !wrong.trim().is_empty() {
        bail!(
            "not formatted: {}",
            wrong.split_whitespace().collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}

/// With the settings of build.sh, so that Kubernetes is compiled once for both.
fn go(arguments: &[&str]) -> Command {
    let mut go = command("go", arguments);
    go.current_dir(kubernetes()).env("CGO_ENABLED", "0");
    go
}

fn go_vet(_: &Place) -> Result<()> {
    visible(&mut go(&["vet", "./..."]))
}

/// The chart is rendered with the Helm that its job runs; without one its tests would be left out.
fn go_tests(place: &Place) -> Result<()> {
    let helm = cache::kubernetes::binaries(place)?.join("helm");
    visible(go(&["test", "./..."]).env("LAB_HELM", helm))
}

/// Fleets that come and go leave nothing behind.
fn leaks(_: &Place) -> Result<()> {
    visible(&mut cargo(&[
        "test",
        "--quiet",
        "--package",
        "slicer-k3s-lab",
        "--test",
        "leaks",
        "--",
        "--ignored",
        "--test-threads",
        "1",
    ]))
}

/// Every shell script of the tree, found by its first line.
fn shellcheck(_: &Place) -> Result<()> {
    if !exists("shellcheck") {
        say::line("  installing shellcheck: it reads every script of the tree");
        visible(
            command(
                "apt-get",
                &[
                    "install",
                    "--yes",
                    "--quiet",
                    "--no-install-recommends",
                    "shellcheck",
                ],
            )
            .env("DEBIAN_FRONTEND", "noninteractive"),
        )
        .context("install shellcheck")?;
    }
    let scripts: Vec<PathBuf> = tracked()?
        .into_iter()
        .filter(|file| is_shell(file))
        .collect();
    if scripts.is_empty() {
        bail!("no script found");
    }
    visible(command("shellcheck", &[]).args(&scripts))
}

fn tracked() -> Result<Vec<PathBuf>> {
    let list = output(command("git", &["ls-files", "-z"]).current_dir(Place::workspace()))?;
    let names = list.split('\0').filter(|name| !name.is_empty());
    Ok(names
        .map(|name| Place::workspace().join(name))
        .filter(|path| path.is_file())
        .collect())
}

fn is_shell(file: &Path) -> bool {
    let text = std::fs::read(file).unwrap_or_default();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    first.starts_with("#!") && (first.ends_with("sh") || first.ends_with("sh -eu"))
}

/// Words that no file of the tree may hold: unfinished work.
fn words(_: &Place) -> Result<()> {
    let forbidden = ["TODO", "FIXME", "todo!(", "unimplemented!("];
    let mut found = Vec::new();
    for file in tracked()? {
        if file.ends_with("test/gate.rs") {
            continue;
        }
        let text = std::fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        for word in forbidden.iter().filter(|word| text.contains(**word)) {
            found.push(format!("{} in {}", word, file.display()));
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        bail!(found.join("; "))
    }
}

/// Bans, licences and sources; advisories need a database that is fetched from elsewhere.
fn deny(place: &Place) -> Result<()> {
    let root = place.cache.join("tools").join(format!("cargo-deny-{DENY}"));
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        say::line(format_args!(
            "  building cargo-deny {DENY}, once: it checks licences and sources"
        ));
        let mut install = cargo(&[
            "install",
            "--quiet",
            "--locked",
            "cargo-deny",
            "--version",
            DENY,
        ]);
        visible(install.arg("--root").arg(&root))?;
    }
    let mut check = Command::new(program);
    check.current_dir(Place::workspace());
    visible(check.args([
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}
