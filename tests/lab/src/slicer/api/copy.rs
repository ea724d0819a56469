//! Files and directories into a VM and out of it.

use std::process::Stdio;

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    App,
    exec::ready,
    failure::{Answer, Failure},
    feed,
    query::Query,
};
use crate::machine::Entry;

/// Writes standard input to `$1` with mode `$2` and owner `$3`; nobody else can read it meanwhile.
const PUT: &str = r#"set -e; umask 077; [ ! -d "$1" ] || { echo "$1 is a directory" >&2; exit 1; }
[ -d "${1%/*}/" ] || mkdir -p -m 0755 "${1%/*}"; cat > "$1.slicer-cp"; chmod "$2" "$1.slicer-cp"
chown "$3" "$1.slicer-cp"; mv "$1.slicer-cp" "$1""#;

/// `POST /vm/{hostname}/cp`.
pub(crate) async fn write(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
    mut body: Body,
) -> Answer {
    let (path, tar) = target(&app, &hostname, &query)?;
    let uid: u32 = query.number("uid")?.unwrap_or(0);
    let gid: u32 = query.number("gid")?.unwrap_or(uid);
    let entry = if tar {
        let script = r#"mkdir -p "$1" && exec tar --extract --no-same-owner --directory "$1""#;
        let mut entry = Entry::root(["sh", "-c", script, "cp", &path]);
        (entry.uid, entry.gid) = (uid, gid);
        entry
    } else {
        let mode = format!("{:o}", query.permissions()?.unwrap_or(0o644));
        Entry::root(["sh", "-c", PUT, "cp", &path, &mode, &format!("{uid}:{gid}")])
    };
    let mut command = app.fleet.machines.enter(&hostname, &entry)?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        while let Some(frame) = body.frame().await {
            // A client that broke off must not leave half a file under the name.
            let frame = frame.map_err(|error| Failure::new(400, format!("cp: {error}")))?;
            if let Ok(bytes) = frame.into_data()
                && pipe.write_all(&bytes).await.is_err()
            {
                break;
            }
        }
    }
    let output = child.wait_with_output().await?;
    if output.status.success() {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(unexpected(400, &String::from_utf8_lossy(&output.stderr)))
    }
}

/// `GET /vm/{hostname}/cp`.
pub(crate) async fn read(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    let (path, tar) = target(&app, &hostname, &query)?;
    let look = Entry::root(["stat", "--dereference", "--format=%a %F", "--", &path]);
    let mut command = app.fleet.machines.enter(&hostname, &look)?;
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        return Err(unexpected(404, &String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mode, kind) = text.trim().split_once(' ').unwrap_or(("644", ""));
    if kind == "directory" && !tar {
        return Err(unexpected(
            400,
            &format!("{path} is a directory: use mode=tar"),
        ));
    }
    let entry = if tar {
        let (parent, name) = path
            .trim_end_matches('/')
            .rsplit_once('/')
            .unwrap_or(("", &path));
        let parent = if parent.is_empty() { "/" } else { parent };
        Entry::root(["tar", "--create", "--directory", parent, "--", name])
    } else {
        Entry::root(["cat", "--", &path])
    };
    let mut command = app.fleet.machines.enter(&hostname, &entry)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let (feeder, body) = feed::feed();
    if let Some(mut pipe) = child.stdout.take() {
        tokio::spawn(async move {
            let mut buffer = vec![0_u8; 64 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                if feeder
                    .send(Bytes::copy_from_slice(&buffer[..read]))
                    .await
                    .is_err()
                {
                    break;
                }
            }
            let _ = child.wait().await;
        });
    }
    let kind = if tar {
        "application/x-tar"
    } else {
        "application/octet-stream"
    };
    let mode = format!("{mode:0>4}");
    Ok((
        [
            ("content-type", kind.to_owned()),
            ("x-slicer-file-mode", mode),
        ],
        body,
    )
        .into_response())
}

fn target(app: &App, hostname: &str, query: &Query) -> Result<(String, bool), Failure> {
    let path = query
        .get("path")
        .ok_or_else(|| Failure::new(400, "path is required"))?;
    let tar = match query.get("mode").unwrap_or("binary") {
        "binary" => false,
        "tar" => true,
        other => return Err(unexpected(400, &format!("invalid mode: {other}"))),
    };
    ready(app, hostname)?;
    if !path.starts_with('/') {
        return Err(unexpected(400, &format!("path must be absolute: {path}")));
    }
    Ok((path.to_owned(), tar))
}

/// An agent's error, wrapped as the daemon wraps it.
fn unexpected(status: u16, text: &str) -> Failure {
    Failure::new(
        status,
        format!("cp produced an unexpected error: {status}: {}", text.trim()),
    )
}
