//! Channels, releases, charts, and the Slicer binary.

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use hyper::StatusCode;
use serde_json::Value;

use super::box_under_test::{TestBox, files, k3s};
use crate::digest;

const DOWNLOAD: &str = "/k3s-io/k3s/releases/download/v1.34.4+k3s1";

/// Follows one redirect to another name of the box.
async fn follow(test: &TestBox, host: &str, path: &str) -> Result<super::box_under_test::Answer> {
    let first = test.get(host, path).await?;
    assert_eq!(first.status, StatusCode::FOUND, "{host}{path}");
    let target = first
        .header("location")
        .strip_prefix("https://")
        .context("no redirect")?;
    let (host, path) = target.split_once('/').context("no path")?;
    test.get(host, &format!("/{path}")).await
}

#[tokio::test]
async fn a_channel_leads_to_the_page_of_its_release() -> Result<()> {
    let test = TestBox::start().await?;
    let first = test
        .get("update.k3s.io", "/v1-release/channels/stable")
        .await?;
    // The install script takes the last element of where it ends up.
    assert!(first.header("location").ends_with("/v1.34.4+k3s1"));
    let page = follow(&test, "update.k3s.io", "/v1-release/channels/stable").await?;
    assert_eq!(page.status, StatusCode::OK);
    let list = test
        .get("update.k3s.io", "/v1-release/channels")
        .await?
        .json();
    assert_eq!(list["data"][0]["id"], "stable");
    assert_eq!(list["data"][0]["latest"], "v1.34.4+k3s1");
    let unknown = test
        .get("update.k3s.io", "/v1-release/channels/nonsense")
        .await?;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn the_checksum_file_names_the_sum_of_the_download() -> Result<()> {
    let test = TestBox::start().await?;
    for (file, sums) in [("k3s", "amd64"), ("k3s-arm64", "arm64")] {
        let binary = follow(&test, "github.com", &format!("{DOWNLOAD}/{file}")).await?;
        assert_eq!(binary.body, k3s());
        let sums = format!("{DOWNLOAD}/sha256sum-{sums}.txt").replace('+', "%2B");
        let sums = follow(&test, "github.com", &sums).await?.text();
        let line = format!("{}  {file}", digest::of(&binary.body));
        assert!(sums.lines().any(|l| l == line), "{sums}");
    }
    Ok(())
}

/// What a server is upgraded to by hand: the same program, which says that it is another.
#[tokio::test]
async fn the_next_patch_release_is_the_same_program_under_its_own_name() -> Result<()> {
    let program = [&k3s()[..], b"\nv1.34.4+k3s1\0v1x34x4+k3s1", &k3s()[..]].concat();
    let other = String::from_utf8_lossy(b"\nv1.34.5+k3s1\0v1x34x4+k3s1").into_owned();
    let test = TestBox::start_with(|_, options| {
        Ok(std::fs::write(options.bin_dir.join("k3s"), &program)?)
    })
    .await?;
    let download = DOWNLOAD.replace("1.34.4", "1.34.5");
    let binary = follow(&test, "github.com", &format!("{download}/k3s")).await?;
    assert_eq!(binary.status, StatusCode::OK);
    let wanted = [&k3s()[..], other.as_bytes(), &k3s()[..]].concat();
    assert!(binary.body == wanted, "{} bytes", binary.body.len());
    let sums = format!("{download}/sha256sum-amd64.txt");
    let sums = follow(&test, "github.com", &sums).await?.text();
    let line = format!("{}  k3s", digest::of(&binary.body));
    assert!(sums.lines().any(|l| l == line), "{sums}");
    Ok(())
}

#[tokio::test]
async fn other_releases_are_not_found() -> Result<()> {
    let test = TestBox::start().await?;
    let path = "/k3s-io/k3s/releases/download/v1.30.0+k3s1/k3s";
    assert_eq!(
        test.get("github.com", path).await?.status,
        StatusCode::NOT_FOUND
    );
    Ok(())
}

#[tokio::test]
async fn a_download_can_be_looked_at_and_resumed() -> Result<()> {
    let test = TestBox::start().await?;
    let (host, path) = (
        "release-assets.githubusercontent.com",
        "/k3s/v1.34.4%2Bk3s1/k3s",
    );
    let head = test.ask("HEAD", host, path, &[]).await?;
    assert_eq!(head.header("content-length"), k3s().len().to_string());
    assert!(head.body.is_empty());
    let rest = test
        .ask("GET", host, path, &[("range", "bytes=400000-")])
        .await?;
    assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(rest.body, k3s()[400_000..]);
    let end = test
        .ask("GET", host, path, &[("range", "bytes=-5")])
        .await?;
    assert_eq!(end.body, k3s()[k3s().len() - 5..]);
    let beyond = test
        .ask("GET", host, path, &[("range", "bytes=900000-")])
        .await?;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    Ok(())
}

#[tokio::test]
async fn the_slicer_binary_comes_from_its_installers_site() -> Result<()> {
    let test = TestBox::start().await?;
    let slicer = test.get("get.slicervm.com", "/slicer").await?;
    assert_eq!(slicer.body, "the slicer stand-in");
    Ok(())
}

async fn index(test: &TestBox) -> Result<Value> {
    let index = test
        .get("kubernetes.github.io", "/autoscaler/index.yaml")
        .await?;
    Ok(yaml_serde::from_str(&index.text())?)
}

#[tokio::test]
async fn the_chart_is_packed_as_helm_expects_and_always_alike() -> Result<()> {
    let test = TestBox::start().await?;
    let entries = index(&test).await?["entries"]["cluster-autoscaler"].clone();
    // The fork's number was never published.
    let entries = entries.as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["version"] != "9.52.2"));
    let entry = entries.iter().find(|entry| entry["version"] == "9.52.1");
    let entry = entry.unwrap();
    assert_eq!(entry["appVersion"], "1.34.1");
    let path = "/kubernetes/autoscaler/releases/download/cluster-autoscaler-chart-9.52.1/cluster-autoscaler-9.52.1.tgz";
    assert_eq!(entry["urls"][0], format!("https://github.com{path}"));
    let archive = test.get("github.com", path).await?;
    assert_eq!(entry["digest"], digest::of(&archive.body));
    let mut tar = tar::Archive::new(GzDecoder::new(archive.body.as_ref()));
    let inside: Vec<String> = tar
        .entries()?
        .map(|entry| Ok(entry?.path()?.to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    assert_eq!(
        inside,
        [
            "cluster-autoscaler/Chart.yaml",
            "cluster-autoscaler/templates/deployment.yaml"
        ]
    );
    let again = TestBox::start().await?;
    assert_eq!(index(&again).await?, index(&test).await?);
    Ok(())
}

#[tokio::test]
async fn somebodys_own_chart_takes_the_labs_place() -> Result<()> {
    let test = TestBox::start_with(|dir, options| {
        let other = dir.join("other");
        let chart = files(&other)?.chart;
        let about = "apiVersion: v2\nname: cluster-autoscaler\nversion: 9.59.0\n";
        std::fs::write(chart.join("Chart.yaml"), about)?;
        let extra = dir.join("extra-charts");
        std::fs::create_dir(&extra)?;
        let package = crate::sites::package::pack(&chart, None)?;
        std::fs::write(extra.join("cluster-autoscaler-9.59.0.tgz"), package.archive)?;
        options.extra_charts = Some(extra);
        Ok(())
    })
    .await?;
    let entries = index(&test).await?["entries"]["cluster-autoscaler"].clone();
    assert_eq!(entries.as_array().map(Vec::len), Some(1));
    assert_eq!(entries[0]["version"], "9.59.0");
    Ok(())
}
