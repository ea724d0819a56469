//! Files and directories into a VM and out of it.

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
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
use crate::{
    daemon::token,
    machine::{Entry, inside::Inside},
};

/// Writes standard input to `$2`, which is to become `$1`. No one else can read it meanwhile.
const RECEIVE: &str = r#"set -e; umask 077; [ ! -d "$1" ] || { echo "$1 is a directory" >&2; exit 1; }
[ -d "${1%/*}/" ] || mkdir -p -m 0755 "${1%/*}"; exec cat > "$2""#;
/// Gives `$2` its mode `$3`, its owner `$4`, and its name `$1`.
const FINISH: &str = r#"set -e; chmod "$3" "$2"; chown "$4" "$2"; exec mv -fT "$2" "$1""#;
/// Unpacks standard input in `$1`.
const UNPACK: &str = r#"mkdir -p "$1" && exec tar --extract --no-same-owner --directory "$1""#;
/// Packs what is in `$1`, by names relative to it: files and directories, as Slicer's SDK does (tar.go).
const PACK: &str = r#"cd -- "$1" && find . -mindepth 1 \( -type f -o -type d \) -printf '%P\0' |
tar --create --null --no-recursion --files-from=- 2>/dev/null"#;
/// What a path may begin with for the home of the VM's user (docs: getting-started/walkthrough.md).
const HOME: (&str, &str) = ("~", "/home/ubuntu");
/// The most that is kept of what a script says, in bytes.
const WORDS: u64 = 64 << 10;

/// `POST /vm/{hostname}/cp`.
pub(crate) async fn write(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
    headers: HeaderMap,
    mut body: Body,
) -> Answer {
    let sent = header(&headers, &header::CONTENT_TYPE);
    let (path, tar) = target(
        &app,
        &hostname,
        &query,
        sent.starts_with("application/x-tar"),
    )?;
    let uid: u32 = query.number("uid")?.unwrap_or(0);
    let gid: u32 = query.number("gid")?.unwrap_or(uid);
    let mode = format!("{:o}", query.permissions()?.unwrap_or(0o644));
    let machines = &*app.fleet.machines;
    if tar {
        let mut entry = Entry::root(["sh", "-c", UNPACK, "cp", &path]);
        (entry.uid, entry.gid) = (uid, gid);
        let inside = Inside::start(machines, &hostname, &entry, true).await?;
        receive(inside, &headers, &mut body).await?;
        return Ok(StatusCode::OK.into_response());
    }
    let half = Half::beside(&app, &hostname, &path)?;
    let entry = Entry::root(["sh", "-c", RECEIVE, "cp", &path, &half.path]);
    let inside = Inside::start(machines, &hostname, &entry, true).await?;
    receive(inside, &headers, &mut body).await?;
    // Only here it is known that all of it came.
    let owner = format!("{uid}:{gid}");
    let entry = Entry::root(["sh", "-c", FINISH, "cp", &path, &half.path, &mode, &owner]);
    let inside = Inside::start(machines, &hostname, &entry, false).await?;
    let output = inside.collect(WORDS).await?;
    if !output.status.success() {
        return Err(unexpected(400, &String::from_utf8_lossy(&output.stderr)));
    }
    half.keep();
    Ok(StatusCode::OK.into_response())
}

/// Gives a command the request's body, and waits for its end. Where the body breaks, or this is dropped because the
/// client is gone, the command is killed before its input ends.
async fn receive(mut inside: Inside, headers: &HeaderMap, body: &mut Body) -> Result<(), Failure> {
    let mut pipe = inside.input();
    let (mut received, mut refused) = (0, false);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::new(400, format!("cp: {error}")))?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        received += bytes.len() as u64;
        if let Some(pipe) = &mut pipe
            && pipe.write_all(&bytes).await.is_err()
        {
            refused = true;
            break;
        }
    }
    // A server that ends its connections gives a body an end that the client did not.
    let announced = header(headers, &header::CONTENT_LENGTH).parse::<u64>().ok();
    if !refused && announced.is_some_and(|announced| announced != received) {
        return Err(Failure::new(400, "cp: the body ended early"));
    }
    drop(pipe);
    let output = inside.collect(WORDS).await?;
    if output.status.success() && !refused {
        Ok(())
    } else {
        Err(unexpected(400, &String::from_utf8_lossy(&output.stderr)))
    }
}

/// A file under a temporary name, which is removed unless the copy ends well.
struct Half {
    app: App,
    hostname: String,
    path: String,
    whole: bool,
}

impl Half {
    /// Beside the file that it is to become, or it could not take its name in one step.
    fn beside(app: &App, hostname: &str, path: &str) -> Result<Self, Failure> {
        let (directory, _) = path.rsplit_once('/').unwrap_or_default();
        Ok(Self {
            app: app.clone(),
            hostname: hostname.to_owned(),
            path: format!("{directory}/.slicer-cp-{}", token::random(8)?),
            whole: false,
        })
    }

    fn keep(mut self) {
        self.whole = true;
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        // Without a runtime the daemon is ending, and the VM with it.
        if self.whole || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (app, hostname) = (self.app.clone(), self.hostname.clone());
        let entry = Entry::root(["rm", "-f", "--", &self.path]);
        tokio::spawn(async move {
            if let Ok(inside) = Inside::start(&*app.fleet.machines, &hostname, &entry, false).await
            {
                let _ = inside.collect(WORDS).await;
            }
        });
    }
}

/// `GET /vm/{hostname}/cp`.
pub(crate) async fn read(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Answer {
    let wanted = header(&headers, &header::ACCEPT);
    let only_tar =
        wanted.contains("application/x-tar") && !wanted.contains("application/octet-stream");
    let (path, tar) = target(&app, &hostname, &query, only_tar)?;
    let machines = &*app.fleet.machines;
    let entry = Entry::root(["stat", "--dereference", "--format=%a %F", "--", &path]);
    let inside = Inside::start(machines, &hostname, &entry, false).await?;
    let output = inside.collect(WORDS).await?;
    if !output.status.success() {
        return Err(unexpected(404, &String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mode, kind) = text.trim().split_once(' ').unwrap_or(("644", ""));
    let directory = kind == "directory";
    if directory && !tar {
        // Slicer's SDK (client_cp.go) goes by these words when it copies what may be either.
        let text = format!("must specify a file not a directory: {path}");
        return Err(unexpected(400, &text));
    }
    let entry = match (tar, directory) {
        (false, _) => Entry::root(["cat", "--", &path]),
        (true, true) => Entry::root(["sh", "-c", PACK, "cp", &path]),
        (true, false) => {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let parent = if parent.is_empty() { "/" } else { parent };
            Entry::root(["tar", "--create", "--directory", parent, "--", name])
        }
    };
    let mut inside = Inside::start(machines, &hostname, &entry, false).await?;
    let (feeder, body) = feed::feed();
    tokio::spawn(async move {
        // Both: a closed pipe would end what only had a warning.
        let (Some(mut pipe), _errors) = inside.outputs() else {
            return;
        };
        let mut buffer = vec![0_u8; 64 << 10];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            let bytes = Bytes::copy_from_slice(&buffer[..read]);
            if feeder.send(bytes).await.is_err() {
                // The client is gone: what packs ends with `inside`.
                return;
            }
        }
        let _ = inside.wait().await;
    });
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

fn header<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The path, and whether it goes as tar: `mode` says so, or else the type of the content that is sent or accepted
/// (docs: reference/api.md).
fn target(
    app: &App,
    hostname: &str,
    query: &Query,
    typed_tar: bool,
) -> Result<(String, bool), Failure> {
    let path = query
        .get("path")
        .ok_or_else(|| Failure::new(400, "path is required"))?;
    let tar = match query.get("mode") {
        None => typed_tar,
        Some("binary") => false,
        Some("tar") => true,
        Some(other) => return Err(unexpected(400, &format!("invalid mode: {other}"))),
    };
    ready(app, hostname)?;
    let path = at_home(path);
    if !path.starts_with('/') {
        return Err(unexpected(400, &format!("path must be absolute: {path}")));
    }
    Ok((path, tar))
}

fn at_home(path: &str) -> String {
    match path.strip_prefix(HOME.0) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", HOME.1),
        _ => path.to_owned(),
    }
}

/// An agent's error, wrapped as the daemon wraps it.
fn unexpected(status: u16, text: &str) -> Failure {
    Failure::new(
        status,
        format!("cp produced an unexpected error: {status}: {}", text.trim()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `slicer vm cp file vm-1:~/file` of the documents: a tilde alone is the user's home, a name with one is a name.
    #[test]
    fn a_tilde_is_the_users_home() {
        assert_eq!(at_home("~/file"), "/home/ubuntu/file");
        assert_eq!(at_home("~"), "/home/ubuntu");
        assert_eq!(at_home("~other/file"), "~other/file");
        assert_eq!(at_home("/a/~/b"), "/a/~/b");
    }
}
