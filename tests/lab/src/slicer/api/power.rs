//! Shutdown, pause, resume and relaunch.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    response::IntoResponse,
};

use super::{
    App,
    failure::{Answer, Failure},
    nodes::Wait,
    query::Query,
    wire,
};
use crate::{
    daemon::{fleet::Node, record::State as Power},
    machine::Ending,
};

/// `POST /vm/{hostname}/shutdown?action=`.
pub(crate) async fn shutdown(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    find(&app, &hostname)?;
    let ending = match query.get("action") {
        None | Some("reboot") => Ending::Reboot,
        Some("shutdown") => Ending::PowerOff,
        Some(other) => return Err(Failure::new(400, format!("invalid action: `{other}`"))),
    };
    app.fleet.machines.ask(&hostname, ending)?;
    Ok("shutdown initiated\n".into_response())
}

/// `POST /vm/{hostname}/pause`.
pub(crate) async fn pause(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    freeze(&app, &hostname, true)
}

/// `POST /vm/{hostname}/resume`.
pub(crate) async fn resume(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    freeze(&app, &hostname, false)
}

fn freeze(app: &App, hostname: &str, frozen: bool) -> Answer {
    let node = find(app, hostname)?;
    if node.state == Power::Stopped {
        return Err(Failure::new(500, format!("{hostname} is stopped")));
    }
    app.fleet.machines.freeze(hostname, frozen)?;
    let state = if frozen {
        Power::Paused
    } else {
        Power::Running
    };
    app.fleet.set_state(hostname, node.launch, state);
    Ok(format!("{} initiated\n", if frozen { "pause" } else { "resume" }).into_response())
}

/// `POST /vm/{hostname}/suspend|restore`: no snapshots here.
pub(crate) async fn unsupported(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    find(&app, &hostname)?;
    Err(Failure::new(
        501,
        "snapshots are not implemented on this platform",
    ))
}

/// `POST /vm/{hostname}/relaunch`.
pub(crate) async fn relaunch(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    let node = find(&app, &hostname)?;
    if node.state != Power::Stopped {
        return Err(Failure::new(409, format!("{hostname} is already running")));
    }
    let wait = Wait::read(&query)?;
    // On its own: a request that has begun goes on when its client is gone.
    let (fleet, name) = (Arc::clone(&app.fleet), hostname.clone());
    let launching = tokio::spawn(async move { fleet.relaunch(&name).await });
    launching.await.map_err(anyhow::Error::from)??;
    if let Some(wait) = wait
        && !app.fleet.wait_ready(&node, wait.userdata, wait.limit).await
    {
        return Err(Failure::new(
            408,
            format!("timed out waiting for {hostname}"),
        ));
    }
    Ok(Json(wire::created(&app.fleet, &node.record)).into_response())
}

fn find(app: &App, hostname: &str) -> Result<Node, Failure> {
    app.fleet
        .node(hostname)
        .ok_or_else(|| Failure::no_vm(hostname))
}
