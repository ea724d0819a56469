//! A VM's tags.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    response::IntoResponse,
};
use serde::Deserialize;

use super::{
    App,
    failure::{Answer, Failure},
};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Change {
    add: Vec<String>,
    remove: Vec<String>,
    replace: Option<Vec<String>>,
}

/// `GET /vm/{hostname}/tags`.
pub(crate) async fn list(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    let node = app
        .fleet
        .node(&hostname)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    Ok(Json(node.record.tags).into_response())
}

/// `PATCH /vm/{hostname}/tags`.
pub(crate) async fn change(
    State(app): State<App>,
    Path(hostname): Path<String>,
    body: Bytes,
) -> Answer {
    let change: Change = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(400, format!("invalid request body: {error}")))?;
    let node = app
        .fleet
        .node(&hostname)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    let mut tags = change.replace.unwrap_or(node.record.tags);
    tags.retain(|tag| !change.remove.contains(tag));
    tags.extend(change.add);
    tags.dedup();
    let record = app
        .fleet
        .set_tags(&hostname, tags)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    record.save(&app.fleet.places.vm(&hostname))?;
    Ok(Json(record.tags).into_response())
}
