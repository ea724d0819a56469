//! Each fault, and that it ends when its file goes.

use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::StatusCode;

use super::box_under_test::{TestBox, k3s};
use crate::digest;

const STORE: &str = "release-assets.githubusercontent.com";
const K3S: &str = "/k3s/v1.34.4+k3s1/k3s";

#[tokio::test]
async fn unreachable_cuts_connections_until_it_is_mended() -> Result<()> {
    let test = TestBox::start().await?;
    test.break_name("get.k3s.io", "unreachable")?;
    assert!(test.get("get.k3s.io", "/").await.is_err());
    // One name's fault is no other's.
    test.get("update.k3s.io", "/").await?;
    test.mend("get.k3s.io")?;
    assert_eq!(test.get("get.k3s.io", "/").await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_500_is_a_500() -> Result<()> {
    let test = TestBox::start().await?;
    test.break_name("get.k3s.io", "500")?;
    let answer = test.get("get.k3s.io", "/").await?;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    Ok(())
}

#[tokio::test]
async fn half_an_installation_ends_with_the_program_in_place() -> Result<()> {
    let test = TestBox::start().await?;
    let whole = test.get("get.slicervm.com", "/").await?.text();
    test.break_name("get.slicervm.com", "half")?;
    let half = test.get("get.slicervm.com", "/").await?.text();
    assert!(half.contains("    install_client\n    die 'E: Could not get lock"));
    assert!(!whole.contains("Could not get lock"));
    // The program itself arrives.
    let program = test.get("get.slicervm.com", "/slicer").await?;
    assert_eq!(program.status, StatusCode::OK);
    test.mend("get.slicervm.com")?;
    assert_eq!(test.get("get.slicervm.com", "/").await?.text(), whole);
    Ok(())
}

#[tokio::test]
async fn truncate_ends_a_body_early_where_the_peer_can_tell() -> Result<()> {
    let test = TestBox::start().await?;
    let whole = test.get("get.k3s.io", "/").await?.body;
    test.break_name("get.k3s.io", "truncate")?;
    let (got, ended_well) = test.read("get.k3s.io", "/").await?;
    assert!(!ended_well);
    // Really half of it: a script cut in the middle is the case to survive.
    assert_eq!(got, whole[..whole.len() / 2]);
    Ok(())
}

#[tokio::test]
async fn badsum_spoils_the_download_but_not_its_checksum_file() -> Result<()> {
    let test = TestBox::start().await?;
    // Broken is the name that people know; the store behind its redirect shares the fault.
    test.break_name("github.com", "badsum")?;
    let binary = test.get(STORE, K3S).await?;
    assert_eq!(binary.body.len(), k3s().len());
    assert_ne!(binary.body, k3s());
    let sums = test
        .get(STORE, "/k3s/v1.34.4+k3s1/sha256sum-amd64.txt")
        .await?;
    assert!(sums.text().contains(&digest::of(&k3s())));
    Ok(())
}

#[tokio::test]
async fn slow_is_slow_and_complete() -> Result<()> {
    let test = TestBox::start().await?;
    test.break_name("update.k3s.io", "slow")?;
    let began = Instant::now();
    let answer = test.get("update.k3s.io", "/v1-release/channels").await?;
    assert!(began.elapsed() > Duration::from_secs(2));
    assert!(answer.json()["data"].is_array());
    Ok(())
}

#[tokio::test]
async fn a_half_written_fault_file_is_no_fault() -> Result<()> {
    let test = TestBox::start().await?;
    std::fs::write(
        test.dir.path().join("state/faults/name-get.k3s.io.json"),
        "{\"mo",
    )?;
    assert_eq!(test.get("get.k3s.io", "/").await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn every_request_leaves_a_line() -> Result<()> {
    let test = TestBox::start().await?;
    test.get("get.k3s.io", "/nothing").await?;
    // The line is written just after the last byte.
    let limit = Instant::now() + Duration::from_secs(5);
    while test.log()?.is_empty() && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let line: serde_json::Value = serde_json::from_str(test.log()?.trim())?;
    assert_eq!(line["name"], "get.k3s.io");
    assert_eq!(line["path"], "/nothing");
    assert_eq!(line["status"], 404);
    assert_eq!(line["peer"], "127.0.0.1");
    Ok(())
}
