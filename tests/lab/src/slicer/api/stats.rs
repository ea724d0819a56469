//! Figures of VMs and of the daemon.

use std::fmt::Write as _;

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    App,
    failure::{Answer, Failure},
    health, wire,
};
use crate::{daemon::fleet::Node, time};

/// `GET /nodes/stats`.
pub(crate) async fn all(State(app): State<App>) -> Response {
    let values: Vec<Value> = app
        .fleet
        .nodes(None)
        .iter()
        .map(|node| stat(&app, node))
        .collect();
    Json(values).into_response()
}

/// `GET /node/{hostname}/stats`.
pub(crate) async fn one(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    let node = app
        .fleet
        .node(&hostname)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    let value = stat(&app, &node);
    let value = if app.fleet.variant.is("node-stats", "array") {
        json!([value])
    } else {
        value
    };
    Ok(Json(value).into_response())
}

fn stat(app: &App, node: &Node) -> Value {
    let mut value = wire::node(&app.fleet, node);
    let Some(fields) = value.as_object_mut() else {
        return value;
    };
    match health::answer(app, node) {
        None => {
            fields.insert("error".into(), json!("the agent does not answer"));
        }
        Some(health) => {
            let snapshot = json!({
                "hostname": node.record.hostname,
                "arch": wire::arch(&app.fleet),
                "timestamp": time::agent_time(time::nanos_now()),
                "uptime": format!("{}s", health.system_uptime),
                "totalCpus": node.record.cpus,
                "totalMemory": node.record.ram_bytes,
            });
            fields.insert("snapshot".into(), snapshot);
        }
    }
    value
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    let mut text = "# TYPE slicer_vm_running gauge\n".to_owned();
    for group in app.fleet.group_names() {
        let nodes = app.fleet.nodes(Some(group));
        for (api, word) in [
            (true, "Running"),
            (true, "Paused"),
            (false, "Running"),
            (false, "Paused"),
        ] {
            let count = nodes
                .iter()
                .filter(|n| n.record.protected != api && n.state.word() == word)
                .count();
            let state = word.to_lowercase();
            let _ = writeln!(
                text,
                "slicer_vm_running{{host_group=\"{group}\",api=\"{api}\",state=\"{state}\"}} {count}"
            );
        }
    }
    ([("content-type", "text/plain; version=0.0.4")], text).into_response()
}
