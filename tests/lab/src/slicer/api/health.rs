//! What a VM says of itself: its agent's health and its serial log.

use axum::{
    Json,
    extract::{Path, State},
    response::IntoResponse,
};
use serde_json::json;

use super::{
    App,
    failure::{Answer, Failure},
    query::Query,
};
use crate::{
    daemon::{fleet::Node, record::State as Power},
    machine::Health,
    version,
};

/// `GET|HEAD /vm/{hostname}/health`.
pub(crate) async fn health(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    let node = app
        .fleet
        .node(&hostname)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    let health = answer(&app, &node)
        .ok_or_else(|| Failure::new(500, format!("the agent of {hostname} does not answer")))?;
    Ok(Json(json!({
        "hostname": hostname,
        "agent_uptime": health.agent_uptime,
        "agent_version": version::NUMBER,
        "system_uptime": health.system_uptime,
        "userdata_ran": health.userdata_ran,
        "userdata_exit_code": health.userdata_exit_code,
        "ip": node.record.address.addr().to_string(),
    }))
    .into_response())
}

/// What a VM's agent says, if it answers: that of a VM whose CPUs stand still does not.
pub(crate) fn answer(app: &App, node: &Node) -> Option<Health> {
    (node.state != Power::Paused)
        .then(|| app.fleet.machines.health(&node.record.hostname))
        .flatten()
}

/// `GET /vm/{hostname}/logs`.
pub(crate) async fn logs(
    State(app): State<App>,
    Path(hostname): Path<String>,
    query: Query,
) -> Answer {
    let lines: usize = query.number("lines")?.unwrap_or(20);
    if app.fleet.node(&hostname).is_none() {
        return Err(Failure::no_vm(&hostname));
    }
    let bytes = tokio::fs::read(app.fleet.places.serial(&hostname))
        .await
        .map_err(|error| {
            let status = if error.kind() == std::io::ErrorKind::NotFound {
                404
            } else {
                500
            };
            Failure::new(status, format!("log of {hostname}: {error}"))
        })?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let shown = if lines == 0 {
        &all[..]
    } else {
        &all[all.len().saturating_sub(lines)..]
    };
    Ok(
        Json(json!({"hostname": hostname, "lines": shown.len(), "content": shown.join("\n")}))
            .into_response(),
    )
}
