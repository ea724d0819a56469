//! The routes of commands in the background.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    response::IntoResponse,
};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::json;

use super::{
    App, body,
    failure::{Answer, Failure},
    feed,
    query::Query,
};

/// `GET /vm/{hostname}/exec`.
pub(crate) async fn list(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    if app.fleet.node(&hostname).is_none() {
        return Err(Failure::no_vm(&hostname));
    }
    Ok(Json(app.execs.of_vm(&app.fleet, &hostname)).into_response())
}

/// `GET /vm/{hostname}/exec/{id}`.
pub(crate) async fn status(
    State(app): State<App>,
    Path((hostname, id)): Path<(String, String)>,
) -> Answer {
    Ok(Json(app.execs.find(&app.fleet, &hostname, &id)?.status()).into_response())
}

/// `DELETE /vm/{hostname}/exec/{id}`.
pub(crate) async fn reap(
    State(app): State<App>,
    Path((hostname, id)): Path<(String, String)>,
) -> Answer {
    // The document says that a running one is reaped and goes on, Slicer's SDK for Go that it is a conflict.
    let running = app.execs.find(&app.fleet, &hostname, &id)?.end().is_none();
    if running && app.fleet.variant.is("exec-reap", "ended") {
        return Err(Failure::new(409, format!("exec {id} is running")));
    }
    app.execs.reap(&app.fleet, &hostname, &id)?;
    Ok(Json(json!({"exec_id": id, "reaped": true})).into_response())
}

/// `GET /vm/{hostname}/exec/{id}/logs`.
pub(crate) async fn logs(
    State(app): State<App>,
    Path((hostname, id)): Path<(String, String)>,
    query: Query,
) -> Answer {
    let exec = app.execs.find(&app.fleet, &hostname, &id)?;
    let (follow, mut from) = (
        query.flag("follow", false)?,
        query.number("from_id")?.unwrap_or(0),
    );
    let (feeder, body) = feed::feed();
    tokio::spawn(async move {
        let mut news = exec.news.subscribe();
        loop {
            news.mark_unchanged();
            let (frames, next) = exec.frames(from);
            // The exit frame is the last, and is written after the end is known.
            let over = frames.last().is_some_and(|frame| frame["type"] == "exit");
            for frame in frames {
                if feeder
                    .send(Bytes::from(format!("{frame}\n")))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            from = next;
            if over || !follow || (exec.end().is_some() && exec.frames(from).0.is_empty()) {
                return;
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = feeder.closed() => return,
            }
        }
    });
    Ok(([("content-type", "application/x-ndjson")], body).into_response())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Kill {
    signal: Option<String>,
    grace_ms: Option<u64>,
}

/// `POST /vm/{hostname}/exec/{id}/kill`.
pub(crate) async fn kill(
    State(app): State<App>,
    Path((hostname, id)): Path<(String, String)>,
    bytes: Bytes,
) -> Answer {
    let order: Kill = if bytes.is_empty() {
        Kill::default()
    } else {
        body::object(&bytes)?
    };
    let name = order
        .signal
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("TERM");
    let signal = match name.trim_start_matches("SIG") {
        "TERM" => Signal::TERM,
        "KILL" => Signal::KILL,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        other => return Err(Failure::new(400, format!("unknown signal `{other}`"))),
    };
    let exec = app.execs.find(&app.fleet, &hostname, &id)?;
    if exec.end().is_none() {
        exec.group.signal(signal);
        if signal == Signal::TERM {
            let grace = Duration::from_millis(order.grace_ms.unwrap_or(5000));
            let exec = std::sync::Arc::clone(&exec);
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                if exec.end().is_none() {
                    exec.group.signal(Signal::KILL);
                }
            });
        }
    }
    let running = exec.end().is_none();
    Ok(
        Json(json!({"exec_id": id, "pid": exec.pid, "running": running, "signal_sent": name}))
            .into_response(),
    )
}

/// `GET /vm/{hostname}/exec/{id}/wait-exit`.
pub(crate) async fn wait_exit(
    State(app): State<App>,
    Path((hostname, id)): Path<(String, String)>,
    query: Query,
) -> Answer {
    let exec = app.execs.find(&app.fleet, &hostname, &id)?;
    let seconds = query.number::<u64>("timeout")?.unwrap_or(30).min(600);
    let mut news = exec.news.subscribe();
    let ended = tokio::time::timeout(Duration::from_secs(seconds), async {
        while exec.end().is_none() && news.changed().await.is_ok() {}
    });
    let timed_out = ended.await.is_err();
    let status = exec.status();
    Ok(Json(json!({
        "exec_id": id,
        "running": status["running"],
        "exit_code": status["exit_code"],
        "ended_at": status["ended_at"],
        "signal": status["signal"].as_str().unwrap_or_default(),
        "timed_out": timed_out,
    }))
    .into_response())
}
