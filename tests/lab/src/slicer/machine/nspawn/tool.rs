//! Running the host's own tools.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::{io::AsyncWriteExt, process::Command};

/// Runs a tool; an error tells what it said.
pub(crate) async fn run(program: &str, args: &[&str]) -> Result<()> {
    feed(program, args, "").await
}

/// Runs a tool with this standard input.
pub(crate) async fn feed(program: &str, args: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {program}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A tool that ends without reading tells why by its status.
        let _ = pipe.write_all(input.as_bytes()).await;
    }
    let limit = std::time::Duration::from_secs(30);
    let output = tokio::time::timeout(limit, child.wait_with_output())
        .await
        .with_context(|| format!("{program} {} did not end", args.join(" ")))??;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{program} {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    )
}
