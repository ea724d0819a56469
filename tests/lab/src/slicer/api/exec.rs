//! Commands in a VM, in the foreground: streamed as NDJSON, or collected.

use std::{process::Stdio, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin},
};

use super::{
    App,
    failure::{Answer, Failure},
    feed::{self, Feeder},
    query::Query,
};
use crate::{daemon::record::State as Power, host::variant::Variant, machine::Entry, time};

/// The most that a collected command may say, each way.
const BUFFER: u64 = 64 << 20;

/// `POST /vm/{hostname}/exec`.
pub(crate) async fn run(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
    body: Body,
) -> Answer {
    let order = Order::read(&query, &app.fleet.variant)?;
    ready(&app, &hostname)?;
    let mut command = app.fleet.machines.enter(&hostname, &order.entry)?;
    let (stdin, buffered) = (query.flag("stdin", false)?, query.flag("buffered", false)?);
    if query.flag("background", false)? {
        if stdin || buffered {
            return Err(Failure::new(400, "background excludes stdin and buffered"));
        }
        let ring = query
            .number("ring_bytes")?
            .filter(|bytes| *bytes > 0)
            .unwrap_or(1 << 20);
        let launched = app.execs.launch(&hostname, &order, command, ring)?;
        return Ok((StatusCode::CREATED, Json(launched)).into_response());
    }
    if stdin && buffered {
        return Err(Failure::new(400, "buffered excludes stdin"));
    }
    command
        .stdin(if stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    if let Some(pipe) = child.stdin.take() {
        tokio::spawn(pour(body, pipe));
    }
    if buffered {
        collect(child, &order).await
    } else {
        Ok(stream(child, order))
    }
}

/// What a request asks to be run.
pub(crate) struct Order {
    /// The command as it is run.
    pub(crate) entry: Entry,
    /// The command as it was given.
    pub(crate) cmd: String,
    /// Its arguments as they were given.
    pub(crate) args: Vec<String>,
    form: Form,
    /// The streams that the client does not want.
    unwanted: Vec<&'static str>,
}

/// How frames are spelt.
struct Form {
    base64: bool,
    typed: bool,
}

impl Order {
    fn read(query: &Query, variant: &Variant) -> Result<Self, Failure> {
        let cmd = query
            .get("cmd")
            .ok_or_else(|| Failure::new(400, "cmd is required"))?
            .to_owned();
        let args = query.all("args");
        let default = variant
            .get("exec-uid")
            .and_then(|uid| uid.parse().ok())
            .unwrap_or(0);
        let uid = query.number("uid")?.unwrap_or(default);
        let words: Vec<String> = match query.get("shell") {
            None => std::iter::once(cmd.clone())
                .chain(args.iter().cloned())
                .collect(),
            Some(shell) => {
                let line = std::iter::once(cmd.clone()).chain(args.iter().map(|arg| quote(arg)));
                vec![
                    shell.to_owned(),
                    "-c".to_owned(),
                    line.collect::<Vec<_>>().join(" "),
                ]
            }
        };
        let mut unwanted = Vec::new();
        for stream in ["stdout", "stderr"] {
            if !query.flag(stream, true)? {
                unwanted.push(stream);
            }
        }
        let stdio = query.get("stdio").unwrap_or("text");
        if !matches!(stdio, "text" | "base64") {
            return Err(Failure::new(400, format!("invalid stdio: `{stdio}`")));
        }
        Ok(Self {
            entry: Entry {
                argv: words.into_iter().map(Into::into).collect(),
                uid,
                gid: query.number("gid")?.unwrap_or(uid),
                cwd: query.get("cwd").map(str::to_owned),
                env: query.all("env"),
            },
            cmd,
            args,
            form: Form {
                base64: stdio == "base64",
                typed: !variant.is("exec-frames", "untyped"),
            },
            unwanted,
        })
    }

    fn wanted<'a>(&self, stream: &str, bytes: &'a [u8]) -> &'a [u8] {
        if self.unwanted.contains(&stream) {
            b""
        } else {
            bytes
        }
    }

    fn text(&self, bytes: &[u8]) -> String {
        if self.form.base64 {
            STANDARD.encode(bytes)
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        }
    }

    fn frame(&self, stream: &str, bytes: &[u8]) -> Value {
        let mut frame = json!({"timestamp": now(), (stream): self.text(bytes)});
        if self.form.typed {
            frame["type"] = json!(stream);
            frame["data"] = frame[stream].take();
            if let Some(fields) = frame.as_object_mut() {
                fields.remove(stream);
            }
        }
        if self.form.base64 {
            frame["encoding"] = json!("base64");
        }
        frame["exit_code"] = json!(0);
        frame
    }

    /// The last frame: how it ended.
    fn last(&self, end: End) -> Value {
        let mut frame = json!({"timestamp": now(), "exit_code": end.code});
        if self.form.typed {
            frame["type"] = json!("exit");
            frame["ended_at"] = json!(now());
        }
        if let Some(signal) = end.signal {
            frame["signal"] = json!(signal.to_string());
        }
        if let Some(error) = self.error(end) {
            frame["error"] = json!(error);
        }
        frame
    }

    fn error(&self, end: End) -> Option<String> {
        match end.code {
            0 => None,
            127 => Some(format!(
                "exec: {:?}: executable file not found in $PATH",
                self.cmd
            )),
            code => Some(format!("exit status {code}")),
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    /// Its exit code, 128 + the signal when one killed it.
    pub(crate) code: i32,
    /// The signal.
    pub(crate) signal: Option<i32>,
}

impl End {
    /// From what the kernel says.
    pub(crate) fn of(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal();
        Self {
            code: status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
            signal,
        }
    }
}

/// 404 when there is no such VM, 409 when it is paused, 400 when no agent answers.
pub(crate) fn ready(app: &App, hostname: &str) -> Result<(), Failure> {
    let node = app
        .fleet
        .node(hostname)
        .ok_or_else(|| Failure::no_vm(hostname))?;
    match node.state {
        Power::Paused => Err(Failure::new(409, format!("{hostname} is paused"))),
        Power::Running if app.fleet.machines.health(hostname).is_some() => Ok(()),
        _ => Err(Failure::new(
            400,
            format!("the agent of {hostname} does not answer"),
        )),
    }
}

/// One word for a POSIX shell.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Now, as the API tells times.
pub(crate) fn now() -> String {
    time::rfc3339(time::unix_now())
}

async fn pour(mut body: Body, mut pipe: ChildStdin) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(bytes) = frame.into_data()
            && pipe.write_all(&bytes).await.is_err()
        {
            return;
        }
    }
}

async fn collect(mut child: Child, order: &Order) -> Answer {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (out, err) = tokio::join!(slurp(stdout), slurp(stderr));
    let end = End::of(child.wait().await?);
    let mut answer = json!({
        "stdout": order.text(order.wanted("stdout", &out)),
        "stderr": order.text(order.wanted("stderr", &err)),
        "exit_code": end.code,
    });
    if let Some(error) = order.error(end) {
        answer["error"] = json!(error);
    }
    if order.form.base64 {
        answer["encoding"] = json!("base64");
    }
    Ok(Json(answer).into_response())
}

async fn slurp(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(BUFFER).read_to_end(&mut bytes).await;
    }
    bytes
}

fn stream(mut child: Child, order: Order) -> Response {
    let (feeder, body) = feed::feed();
    tokio::spawn(async move {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        if order.form.typed {
            let started =
                json!({"type": "started", "pid": child.id(), "started_at": now(), "exit_code": 0});
            let _ = send(&feeder, &started).await;
        }
        // A command whose pipes are held open by a child of its own goes on: as with the original,
        // such a thing wants `background`.
        let gone = tokio::join!(
            pump(stdout, "stdout", &order, &feeder),
            pump(stderr, "stderr", &order, &feeder)
        );
        if gone.0 || gone.1 {
            // The client went away: its command goes too.
            let _ = child.start_kill();
        }
        let status = tokio::time::timeout(Duration::from_hours(24), child.wait()).await;
        if let Ok(Ok(status)) = status {
            let _ = send(&feeder, &order.last(End::of(status))).await;
        }
    });
    ([("content-type", "application/x-ndjson")], body).into_response()
}

/// Sends what a pipe says until it ends; true when the client has gone.
async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    name: &'static str,
    order: &Order,
    feeder: &Feeder,
) -> bool {
    let Some(mut pipe) = pipe else { return false };
    let mut buffer = vec![0_u8; 16 << 10];
    // Bytes of a character that the next read will complete.
    let mut kept = 0;
    loop {
        let read = tokio::select! {
            read = pipe.read(&mut buffer[kept..]) => read.unwrap_or(0),
            () = feeder.closed() => return true,
        };
        let filled = kept + read;
        if filled == 0 {
            return false;
        }
        let whole = if read == 0 || order.form.base64 {
            filled
        } else {
            whole_characters(&buffer[..filled])
        };
        if whole > 0
            && !order.unwanted.contains(&name)
            && !send(feeder, &order.frame(name, &buffer[..whole])).await
        {
            return true;
        }
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
        if read == 0 {
            return false;
        }
    }
}

/// How many bytes end with a whole character; what is not UTF-8 at all counts as whole.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

async fn send(feeder: &Feeder, frame: &Value) -> bool {
    feeder.send(Bytes::from(format!("{frame}\n"))).await.is_ok()
}
