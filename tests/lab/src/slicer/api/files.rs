//! Directories and files in a VM.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App, body,
    exec::ready,
    failure::{Answer, Failure},
    query::{Query, octal},
};
use crate::{
    machine::{Entry, inside::Inside},
    time,
};

/// The most that a listing may be, in bytes.
const BUFFER: u64 = 64 << 20;

/// What `find` prints of each entry: NUL ends a field, so that any name is safe.
const FORMAT: &str = r"%f\0%y\0%s\0%T@\0%m\0";

/// `GET /vm/{hostname}/fs/readdir`.
pub(crate) async fn readdir(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    let path = path_of(query.get("path"))?;
    let find = [
        "find",
        &format!("{path}/"),
        "-mindepth",
        "1",
        "-maxdepth",
        "1",
        "-printf",
        FORMAT,
    ];
    let bytes = run(&app, &hostname, &find).await?;
    let mut entries = parse(&app, &bytes);
    entries.sort_by_key(|entry| entry["name"].as_str().unwrap_or_default().to_owned());
    Ok(Json(entries).into_response())
}

/// `GET /vm/{hostname}/fs/stat`.
pub(crate) async fn stat(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    let path = path_of(query.get("path"))?;
    let bytes = run(
        &app,
        &hostname,
        &["find", &path, "-maxdepth", "0", "-printf", FORMAT],
    )
    .await?;
    let entry = parse(&app, &bytes)
        .pop()
        .ok_or_else(|| Failure::new(404, format!("{path} not found")))?;
    Ok(Json(entry).into_response())
}

#[derive(Deserialize)]
struct Mkdir {
    path: Option<String>,
    #[serde(default)]
    recursive: bool,
    mode: Option<String>,
}

/// `POST /vm/{hostname}/fs/mkdir`.
pub(crate) async fn mkdir(
    State(app): State<App>,
    Path(hostname): Path<String>,
    bytes: Bytes,
) -> Answer {
    let order: Mkdir = body::object(&bytes)?;
    let path = path_of(order.path.as_deref())?;
    let mode = order
        .mode
        .as_deref()
        .filter(|mode| !mode.is_empty())
        .map_or(Ok(0o755), octal)?;
    let mode = format!("--mode={mode:o}");
    let mut argv = vec!["mkdir", &mode];
    if order.recursive {
        argv.push("--parents");
    }
    argv.extend(["--", &path]);
    run(&app, &hostname, &argv).await?;
    Ok(StatusCode::OK.into_response())
}

/// `DELETE /vm/{hostname}/fs/remove`.
pub(crate) async fn remove(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    let path = path_of(query.get("path"))?;
    let how = if query.flag("recursive", false)? {
        "--recursive"
    } else {
        "--dir"
    };
    run(&app, &hostname, &["rm", how, "--", &path]).await?;
    Ok(StatusCode::OK.into_response())
}

fn path_of(path: Option<&str>) -> Result<String, Failure> {
    path.filter(|path| path.starts_with('/') && !path.contains('\0'))
        .map(|path| {
            if path == "/" {
                "/".to_owned()
            } else {
                path.trim_end_matches('/').to_owned()
            }
        })
        .ok_or_else(|| Failure::new(400, "an absolute path is required"))
}

async fn run(app: &App, hostname: &str, argv: &[&str]) -> Result<Vec<u8>, Failure> {
    ready(app, hostname)?;
    let mut entry = Entry::root(argv.iter().copied());
    entry.env.push("LC_ALL=C".to_owned());
    let inside = Inside::start(&*app.fleet.machines, hostname, &entry, false).await?;
    let output = inside.collect(BUFFER).await?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let status = if text.contains("No such file") {
        404
    } else {
        400
    };
    Err(Failure::new(status, text))
}

fn parse(app: &App, bytes: &[u8]) -> Vec<Value> {
    let spelt = app.fleet.variant.is("fs-mtime", "rfc3339");
    let fields: Vec<_> = bytes
        .split(|b| *b == 0)
        .map(String::from_utf8_lossy)
        .collect();
    fields
        .chunks_exact(5)
        .map(|entry| {
            let seconds = entry[3]
                .split('.')
                .next()
                .and_then(|text| text.parse::<i64>().ok())
                .unwrap_or(0);
            json!({
                "name": entry[0],
                "type": match &*entry[1] { "d" => "directory", "l" => "symlink", _ => "file" },
                "size": entry[2].parse::<u64>().unwrap_or(0),
                "mtime": if spelt { json!(time::rfc3339(seconds)) } else { json!(seconds) },
                "mode": format!("{:0>4}", entry[4]),
            })
        })
        .collect()
}
