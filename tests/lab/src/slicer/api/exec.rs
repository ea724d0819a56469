//! Commands in a VM, in the foreground: streamed as NDJSON, or collected.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWriteExt},
    process::ChildStdin,
};

use super::{
    App,
    failure::{Answer, Failure},
    feed::{self, Feeder},
    order::{self, End, Order, now},
    query::Query,
};
use crate::{
    daemon::record::State as Power,
    machine::inside::{Group, Inside},
};

/// The most that a collected command may say, each way, in bytes.
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
    let machines = &*app.fleet.machines;
    let (stdin, buffered) = (query.flag("stdin", false)?, query.flag("buffered", false)?);
    if query.flag("background", false)? {
        if stdin || buffered {
            return Err(Failure::new(400, "background excludes stdin and buffered"));
        }
        let ring = query
            .number("ring_bytes")?
            .filter(|bytes| *bytes > 0)
            .unwrap_or(1 << 20);
        let launched = app.execs.launch(&app.fleet, &hostname, order, ring).await?;
        return Ok((StatusCode::CREATED, Json(launched)).into_response());
    }
    if stdin && buffered {
        return Err(Failure::new(400, "buffered excludes stdin"));
    }
    let mut inside = Inside::start(machines, &hostname, &order.entry, stdin).await?;
    if let Some(pipe) = inside.input() {
        tokio::spawn(pour(body, pipe, inside.group()));
    }
    if buffered {
        collect(inside, &order).await
    } else {
        Ok(stream(inside, order))
    }
}

/// 404 when there is no such VM, 409 when it is paused, 400 when no agent answers.
pub(crate) fn ready(app: &App, hostname: &str) -> Result<(), Failure> {
    let node = app
        .fleet
        .node(hostname)
        .ok_or_else(|| Failure::no_vm(hostname))?;
    app.fleet.called(hostname);
    match node.state {
        Power::Paused => Err(Failure::new(409, format!("{hostname} is paused"))),
        Power::Running if app.fleet.machines.health(hostname).is_some() => Ok(()),
        _ => Err(Failure::new(
            400,
            format!("the agent of {hostname} does not answer"),
        )),
    }
}

/// Passes a request's body on. Where it breaks, the command goes before it can take that for the end of its input.
async fn pour(mut body: Body, mut pipe: ChildStdin, group: Group) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            group.signal(Signal::KILL);
            return;
        };
        if let Ok(bytes) = frame.into_data()
            && pipe.write_all(&bytes).await.is_err()
        {
            return;
        }
    }
}

/// When the client goes away, the server drops this, and with it the command.
async fn collect(inside: Inside, order: &Order) -> Answer {
    let output = inside.collect(BUFFER).await?;
    let end = End::of(output.status);
    let text = |stream, bytes| {
        if order.wants(stream) {
            order.text(bytes)
        } else {
            String::new()
        }
    };
    let mut answer = json!({
        "stdout": text("stdout", &output.stdout),
        "stderr": text("stderr", &output.stderr),
        "exit_code": end.code,
    });
    if let Some(error) = order.error(end) {
        answer["error"] = json!(error);
    }
    if order.base64() {
        answer["encoding"] = json!("base64");
    }
    Ok(Json(answer).into_response())
}

fn stream(mut inside: Inside, order: Order) -> Response {
    let (feeder, body) = feed::feed();
    tokio::spawn(async move {
        let (stdout, stderr) = inside.outputs();
        // What ended before it was a command has no start.
        if order.typed()
            && let Some(pid) = inside.pid()
        {
            let _ = send(&feeder, &order::started(pid, &now())).await;
        }
        // A command whose pipes are held open by a child of its own goes on: as with the original, that calls for
        // `background`.
        let end = async {
            tokio::join!(
                pump(stdout, "stdout", &order, &feeder),
                pump(stderr, "stderr", &order, &feeder)
            );
            inside.wait().await
        };
        tokio::select! {
            status = end => if let Ok(status) = status {
                let _ = send(&feeder, &order.last(End::of(status))).await;
            },
            // The client went away: its command goes too, as `inside` is dropped.
            () = feeder.closed() => {}
        }
    });
    ([("content-type", "application/x-ndjson")], body).into_response()
}

/// Sends what a pipe says until it ends, or until the client has gone.
async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    name: &'static str,
    order: &Order,
    feeder: &Feeder,
) {
    let mut pieces = order.pieces(pipe);
    while let Some(piece) = pieces.next().await {
        if order.wants(name) && !send(feeder, &order.frame(name, &piece)).await {
            return;
        }
    }
}

async fn send(feeder: &Feeder, frame: &Value) -> bool {
    feeder.send(Bytes::from(format!("{frame}\n"))).await.is_ok()
}
