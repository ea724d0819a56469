//! The two install scripts: clean, and harmless when they arrive by half.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::box_under_test::TestBox;

fn site(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/internet/site")
        .join(name)
}

fn has_shellcheck() -> bool {
    Command::new("shellcheck").arg("--version").output().is_ok()
}

#[test]
fn shellcheck_finds_nothing() -> Result<()> {
    if !has_shellcheck() {
        return Ok(()); // not everybody has it; those who change the scripts should
    }
    for name in ["get.k3s.io.sh", "k3s-killall.sh", "get.slicervm.com.sh"] {
        let done = Command::new("shellcheck").arg(site(name)).output()?;
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stdout)
        );
    }
    Ok(())
}

#[tokio::test]
async fn scripts_begin_with_their_interpreter() -> Result<()> {
    // Whoever saves a script looks at its first line before running it.
    let test = TestBox::start().await?;
    let whole = test.get("get.k3s.io", "/").await?.text();
    assert!(whole.starts_with("#!/bin/sh\n"));
    assert!(whole.contains("# Stops k3s and everything it started"));
    assert!(!whole.contains("%KILLALL%"));
    let done = Command::new("sh").args(["-n", "-c", &whole]).output()?;
    assert!(done.status.success(), "{done:?}");
    let slicer = test.get("get.slicervm.com", "/").await?.text();
    assert!(slicer.starts_with("#!/usr/bin/env bash\n"));
    Ok(())
}

fn run(script: &str, env: &[(&str, &str)], args: &[&str]) -> Result<(Option<i32>, String)> {
    let mut child = Command::new("sh")
        .args(["-s", "-"])
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A script that ends before it has read everything breaks the pipe, as in a shell.
    let _ = child
        .stdin
        .take()
        .context("no stdin")?
        .write_all(script.as_bytes());
    let done = child.wait_with_output()?;
    Ok((
        done.status.code(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    ))
}

#[test]
fn half_a_k3s_script_does_nothing() -> Result<()> {
    let script = std::fs::read_to_string(site("get.k3s.io.sh"))?;
    let last = script.rfind("\n{\n").context("no block")?;
    // Cut inside the block: all functions are there, nothing calls them.
    let (_, complaint) = run(&script[..last + 40], &[("K3S_URL", "http://x")], &[])?;
    assert!(!complaint.contains("[ERROR]"), "{complaint}");
    Ok(())
}

#[test]
fn what_the_k3s_script_refuses_it_refuses_before_it_writes() -> Result<()> {
    // Without systemd on the machine it refuses even earlier, in other words.
    if Command::new("systemctl").arg("--version").output().is_err() {
        return Ok(());
    }
    let script = std::fs::read_to_string(site("get.k3s.io.sh"))?;
    let nowhere = ("INSTALL_K3S_BIN_DIR", "/nonexistent/internet-test");
    let (code, complaint) = run(&script, &[("K3S_URL", "https://x"), nowhere], &["--debug"])?;
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("[ERROR]  Defaulted k3s exec command to 'agent'"),
        "{complaint}"
    );
    let env = [("K3S_URL", "http://x"), ("K3S_TOKEN", "t"), nowhere];
    let (code, complaint) = run(&script, &env, &["agent"])?;
    assert_eq!(code, Some(1));
    assert!(
        complaint.contains("[ERROR]  Only https:// URLs are supported"),
        "{complaint}"
    );
    Ok(())
}
