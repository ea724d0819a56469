//! The REST API, by the public `OpenAPI` document.

mod background;
mod background_routes;
mod body;
mod copy;
mod exec;
mod failure;
mod feed;
mod files;
mod health;
mod nodes;
mod order;
mod power;
mod query;
mod secrets;
pub(crate) mod serve;
mod stats;
mod tags;
#[cfg(test)]
mod tests;
mod unread;
mod wire;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{daemon::fleet::Fleet, host::profile, version};

/// What every request sees.
#[derive(Clone)]
pub(crate) struct App {
    fleet: Arc<Fleet>,
    token: Option<Arc<str>>,
    execs: Arc<background::Execs>,
    stop: Arc<Notify>,
}

impl App {
    /// The API of a fleet; without a token, nobody is asked for one.
    pub(crate) fn new(fleet: Arc<Fleet>, token: Option<String>) -> Self {
        Self {
            fleet,
            token: token.map(Arc::from),
            execs: Arc::default(),
            stop: Arc::default(),
        }
    }

    /// Waits until a client asks the daemon to stop.
    pub(crate) async fn stop_asked(&self) {
        self.stop.notified().await;
    }
}

/// All routes, without authentication and faults.
fn routes(app: App) -> Router {
    Router::new()
        .route("/info", get(info))
        .route("/healthz", get(healthz))
        .route("/daemon/shutdown", post(shutdown))
        .route("/metrics", get(stats::metrics))
        .route("/hostgroup", get(nodes::groups))
        .route(
            "/hostgroup/{group}/nodes",
            get(nodes::list_group).post(nodes::create),
        )
        .route("/hostgroup/{group}/nodes/{hostname}", delete(nodes::remove))
        .route("/nodes", get(nodes::list))
        .route("/nodes/stats", get(stats::all))
        .route("/node/{hostname}/stats", get(stats::one))
        .route("/secrets", get(secrets::list).post(secrets::create))
        .route(
            "/secrets/{name}",
            patch(secrets::update).delete(secrets::remove),
        )
        .route("/vm/{hostname}", get(nodes::describe))
        .route("/vm/{hostname}/tags", get(tags::list).patch(tags::change))
        .route("/vm/{hostname}/logs", get(health::logs))
        .route("/vm/{hostname}/health", get(health::health))
        .route("/vm/{hostname}/shutdown", post(power::shutdown))
        .route("/vm/{hostname}/pause", post(power::pause))
        .route("/vm/{hostname}/resume", post(power::resume))
        .route("/vm/{hostname}/suspend", post(power::unsupported))
        .route("/vm/{hostname}/restore", post(power::unsupported))
        .route("/vm/{hostname}/relaunch", post(power::relaunch))
        .route(
            "/vm/{hostname}/exec",
            get(background_routes::list).post(exec::run),
        )
        .route(
            "/vm/{hostname}/exec/{id}",
            get(background_routes::status).delete(background_routes::reap),
        )
        .route(
            "/vm/{hostname}/exec/{id}/logs",
            get(background_routes::logs),
        )
        .route(
            "/vm/{hostname}/exec/{id}/kill",
            post(background_routes::kill),
        )
        .route(
            "/vm/{hostname}/exec/{id}/wait-exit",
            get(background_routes::wait_exit),
        )
        .route("/vm/{hostname}/cp", get(copy::read).post(copy::write))
        .route("/vm/{hostname}/fs/readdir", get(files::readdir))
        .route("/vm/{hostname}/fs/stat", get(files::stat))
        .route("/vm/{hostname}/fs/mkdir", post(files::mkdir))
        .route("/vm/{hostname}/fs/remove", delete(files::remove))
        .fallback(async || failure::Failure::new(404, "not found"))
        .method_not_allowed_fallback(async || failure::Failure::new(405, "method not allowed"))
        .with_state(app)
}

async fn info(State(app): State<App>) -> Response {
    Json(json!({
        "version": version::NUMBER,
        "git_commit": version::COMMIT,
        "platform": "linux",
        "arch": profile::go_arch(&app.fleet.arch),
        "stand_in": version::NOTICE,
    }))
    .into_response()
}

/// `POST /daemon/shutdown`: accepted at once, as if SIGTERM had come (slicervm/sdk@557c1cd daemon.go).
async fn shutdown(State(app): State<App>) -> Response {
    tokio::spawn(async move {
        // The answer first: the server cuts connections when it stops.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.stop.notify_one();
    });
    StatusCode::ACCEPTED.into_response()
}

async fn healthz(State(app): State<App>) -> Response {
    if app.fleet.variant.is("healthz", "text") {
        "OK".into_response()
    } else {
        Json(json!({"status": "ok"})).into_response()
    }
}
