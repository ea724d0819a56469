//! `slicer vm cp`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::Method;

use super::{
    args::CopyArgs,
    client::{Client, escape, full, query},
};

/// Copies to or from a VM.
pub(crate) async fn run(client: &Client, order: &CopyArgs) -> Result<()> {
    match (split(&order.from), split(&order.to)) {
        (None, Some((vm, path))) => upload(client, order, vm, path).await,
        (Some((vm, path)), None) => download(client, order, vm, path).await,
        _ => bail!("one of SRC and DST must be VM:path"),
    }
}

/// A colon makes a VM's path, unless a slash comes before it.
fn split(text: &str) -> Option<(&str, &str)> {
    text.split_once(':')
        .filter(|(vm, _)| !vm.is_empty() && !vm.contains('/'))
}

fn is_tar(order: &CopyArgs, directory: bool) -> Result<bool> {
    match order.mode.as_deref() {
        Some("tar") => Ok(true),
        Some("binary") => Ok(false),
        Some(other) => bail!("--mode {other}: tar or binary"),
        None => Ok(order.recursive || directory),
    }
}

async fn upload(client: &Client, order: &CopyArgs, vm: &str, path: &str) -> Result<()> {
    let from = Path::new(&order.from);
    let tar = is_tar(order, from.is_dir())?;
    let mut pairs = vec![("path", path.to_owned())];
    pairs.push(("mode", if tar { "tar" } else { "binary" }.to_owned()));
    pairs.extend(order.uid.map(|uid| ("uid", uid.to_string())));
    pairs.extend(order.gid.map(|gid| ("gid", gid.to_string())));
    pairs.extend(order.permissions.clone().map(|mode| ("permissions", mode)));
    let bytes = if tar {
        let mut builder = tar::Builder::new(Vec::new());
        if from.is_dir() {
            builder.append_dir_all(".", from)?;
        } else {
            builder.append_path_with_name(from, from.file_name().context("no file name")?)?;
        }
        builder.into_inner()?
    } else {
        std::fs::read(from).with_context(|| format!("failed to read {}", from.display()))?
    };
    let url = format!("/vm/{}/cp{}", escape(vm), query(pairs));
    client.send(Method::POST, &url, full(bytes)).await?;
    Ok(())
}

async fn download(client: &Client, order: &CopyArgs, vm: &str, path: &str) -> Result<()> {
    let tar = is_tar(order, false)?;
    let mode = if tar { "tar" } else { "binary" }.to_owned();
    let url = format!(
        "/vm/{}/cp{}",
        escape(vm),
        query([("path", path.to_owned()), ("mode", mode)])
    );
    let response = client.send(Method::GET, &url, full("")).await?;
    let bytes = response.into_body().collect().await?.to_bytes();
    let to = Path::new(&order.to);
    if tar {
        std::fs::create_dir_all(to)?;
        tar::Archive::new(bytes.as_ref()).unpack(to)?;
        return Ok(());
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let target = if to.is_dir() {
        to.join(name)
    } else {
        to.to_owned()
    };
    std::fs::write(&target, &bytes).with_context(|| format!("failed to write {}", target.display()))
}
