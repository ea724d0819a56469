//! Pulling images, as a container runtime does it.

use anyhow::{Context as _, Result};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::box_under_test::{Answer, TestBox, files};
use crate::{digest, images};

const TOKEN: &[(&str, &str)] = &[("authorization", "Bearer any")];

async fn pull(test: &TestBox, host: &str, path: &str) -> Result<Answer> {
    test.ask("GET", host, path, TOKEN).await
}

/// Pulls everything below a tag; checks each digest on the way; returns the config.
async fn pull_all(test: &TestBox, host: &str, name: &str, tag: &str) -> Result<Value> {
    let index = pull(test, host, &format!("/v2/{name}/manifests/{tag}")).await?;
    assert_eq!(index.status, StatusCode::OK, "{host} {name}:{tag}");
    let own = format!("sha256:{}", digest::of(&index.body));
    assert_eq!(index.header("docker-content-digest"), own);
    let mut config = Value::Null;
    let platforms = index.json()["manifests"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        let wanted = platform["digest"].as_str().context("no digest")?.to_owned();
        let manifest = pull(test, host, &format!("/v2/{name}/manifests/{wanted}")).await?;
        assert_eq!(manifest.header("content-type"), platform["mediaType"]);
        assert_eq!(format!("sha256:{}", digest::of(&manifest.body)), wanted);
        let manifest = manifest.json();
        for blob in [&manifest["config"], &manifest["layers"][0]] {
            let wanted = blob["digest"].as_str().context("no digest")?;
            let got = pull(test, host, &format!("/v2/{name}/blobs/{wanted}")).await?;
            assert_eq!(format!("sha256:{}", digest::of(&got.body)), wanted);
            assert_eq!(blob["size"], got.body.len());
            if blob == &manifest["config"] {
                config = got.json();
            } else {
                let tar = flate2::read::GzDecoder::new(got.body.as_ref());
                let inside = format!("sha256:{}", digest::of_reader(tar)?);
                assert_eq!(config["rootfs"]["diff_ids"], json!([inside]));
            }
        }
    }
    Ok(config)
}

#[tokio::test]
async fn every_image_of_the_lab_can_be_pulled() -> Result<()> {
    let test = TestBox::start().await?;
    let hub = "registry-1.docker.io";
    for (host, name, tag) in [
        (hub, "rancher/mirrored-pause", "3.6"),
        (hub, "rancher/mirrored-coredns-coredns", "1.14.0"),
        (hub, "rancher/mirrored-metrics-server", "v0.8.1"),
        (hub, "rancher/local-path-provisioner", "v0.0.36"),
        (hub, "rancher/mirrored-library-traefik", "3.7.4"),
        (hub, "rancher/klipper-helm", "v0.11.0-build20260602"),
        (hub, "library/busybox", "latest"),
        ("docker.io", "library/busybox", "latest"),
        (hub, "openfaasltd/cluster-autoscaler-slicer", "latest"),
        ("ghcr.io", "openfaasltd/cluster-autoscaler-slicer", "latest"),
    ] {
        pull_all(&test, host, name, tag).await?;
    }
    let helm = pull_all(&test, hub, "rancher/klipper-helm", "v0.11.0-build20260602").await?;
    // Its job is not allowed to run as root, and only a number proves that it does not.
    assert_eq!(helm["config"]["User"], "1000:1000");
    Ok(())
}

#[tokio::test]
async fn a_pull_begins_with_asking_for_a_token() -> Result<()> {
    let test = TestBox::start().await?;
    let path = "/v2/openfaasltd/cluster-autoscaler-slicer/manifests/latest";
    let refused = test.get("ghcr.io", path).await?;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let wanted = "Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\",\
                  scope=\"repository:openfaasltd/cluster-autoscaler-slicer:pull\"";
    assert_eq!(refused.header("www-authenticate"), wanted);
    let token = test.get("ghcr.io", "/token?service=ghcr.io").await?.json();
    assert!(token["token"].is_string());
    assert!(test.get("auth.docker.io", "/token").await?.json()["token"].is_string());
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_the_registrys_words() -> Result<()> {
    let test = TestBox::start().await?;
    let hub = "registry-1.docker.io";
    let tag = pull(&test, hub, "/v2/library/nginx/manifests/latest").await?;
    assert_eq!(tag.status, StatusCode::NOT_FOUND);
    assert_eq!(tag.json()["errors"][0]["code"], "MANIFEST_UNKNOWN");
    let blob = format!("/v2/library/busybox/blobs/sha256:{}", "0".repeat(64));
    let blob = pull(&test, hub, &blob).await?;
    assert_eq!(blob.json()["errors"][0]["code"], "BLOB_UNKNOWN");
    let escape = pull(
        &test,
        hub,
        "/v2/library/busybox/blobs/sha256:..%2F..%2Findex.json",
    )
    .await?;
    assert_eq!(escape.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn the_same_binaries_make_the_same_images() -> Result<()> {
    let test = TestBox::start().await?;
    let first = std::fs::read(test.dir.path().join("images/index.json"))?;
    let again = tempfile::tempdir()?;
    images::run(&images::Options {
        bin_dir: test.dir.path().join("bin"),
        root: test.dir.path().join("root"),
        out: again.path().to_owned(),
    })?;
    assert_eq!(std::fs::read(again.path().join("index.json"))?, first);
    Ok(())
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    Ok(tar.append_data(&mut header, name, content)?)
}

#[tokio::test]
async fn archives_of_both_kinds_are_laid_over_the_labs_images() -> Result<()> {
    let test = TestBox::start_with(|dir, options| {
        let extra = dir.join("extra");
        std::fs::create_dir(&extra)?;
        let mut docker = tar::Builder::new(Vec::new());
        let listed = json!([
            {"Config": "c.json", "RepoTags": ["busybox:latest", "rancher/x:1"], "Layers": ["a/layer.tar"]}
        ]);
        append(&mut docker, "a/layer.tar", b"a layer")?;
        append(&mut docker, "c.json", b"{\"os\": \"linux\"}")?;
        append(&mut docker, "manifest.json", listed.to_string().as_bytes())?;
        std::fs::write(extra.join("2-docker.tar"), docker.into_inner()?)?;

        // The lab's own layout, under another name, is as good an OCI archive as any.
        let other = files(&dir.join("other"))?.images;
        let index = std::fs::read_to_string(other.join("index.json"))?
            .replace("docker.io/rancher/mirrored-pause:3.6", "registry.k8s.io/pause:3.10");
        std::fs::write(other.join("index.json"), index)?;
        let mut oci = tar::Builder::new(Vec::new());
        oci.append_dir_all(".", &other)?;
        std::fs::write(extra.join("1-oci.tar"), oci.into_inner()?)?;
        options.extra_images = Some(extra);
        Ok(())
    })
    .await?;
    pull_all(&test, "registry.k8s.io", "pause", "3.10").await?;
    let hub = "registry-1.docker.io";
    for name in ["library/busybox/manifests/latest", "rancher/x/manifests/1"] {
        let manifest = pull(&test, hub, &format!("/v2/{name}")).await?;
        let repository = name.split("/manifests/").next().unwrap_or_default();
        let layer = manifest.json()["layers"][0]["digest"].clone();
        let layer = layer.as_str().context("no layer")?;
        let layer = pull(&test, hub, &format!("/v2/{repository}/blobs/{layer}")).await?;
        assert_eq!(layer.body, "a layer");
    }
    Ok(())
}
