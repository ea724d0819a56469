//! Host groups and their VMs: listed, created, deleted.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App, body,
    failure::{Answer, Failure},
    query::Query,
    wire,
};
use crate::{
    daemon::{fleet::Node, group::Group, life::Wish, secrets::Secrets},
    time,
};

/// `GET /hostgroup`.
pub(crate) async fn groups(State(app): State<App>) -> Response {
    let groups: Vec<Value> = app
        .fleet
        .settings
        .groups
        .iter()
        .map(|group| {
            json!({
                "name": group.name,
                "count": app.fleet.nodes(Some(&group.name)).len(),
                "ram_bytes": group.ram_bytes,
                "cpus": group.cpus,
                "gpu_count": group.gpu_count,
                "arch": wire::arch(&app.fleet),
            })
        })
        .collect();
    Json(groups).into_response()
}

/// `GET /nodes`.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Answer {
    listing(&app, &app.fleet.nodes(None), &query)
}

/// `GET /hostgroup/{group}/nodes`.
pub(crate) async fn list_group(
    State(app): State<App>,
    Path(group): Path<String>,
    query: Query,
) -> Answer {
    let group = find_group(&app, &group)?;
    listing(&app, &app.fleet.nodes(Some(&group.name)), &query)
}

/// `GET /vm/{hostname}`.
pub(crate) async fn describe(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    let node = app
        .fleet
        .node(&hostname)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    Ok(Json(wire::described(&app.fleet, &node)).into_response())
}

fn listing(app: &App, nodes: &[Node], query: &Query) -> Answer {
    let (exact, prefix) = (query.get("tag"), query.get("tag_prefix"));
    if exact.is_some() && prefix.is_some() {
        return Err(Failure::new(
            400,
            "only one of tag and tag_prefix may be set",
        ));
    }
    let nodes: Vec<Value> = nodes
        .iter()
        .filter(|node| {
            let tags = &node.record.tags;
            exact.is_none_or(|exact| tags.iter().any(|tag| tag == exact))
                && prefix.is_none_or(|prefix| tags.iter().any(|tag| tag.starts_with(prefix)))
        })
        .map(|node| wire::node(&app.fleet, node))
        .collect();
    Ok(Json(nodes).into_response())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CreateBody {
    cpus: Option<u32>,
    ram_bytes: Option<u64>,
    gpu_count: Option<u32>,
    persistent: Option<bool>,
    import_user: Option<String>,
    github_user: Option<String>,
    ssh_keys: Option<Vec<String>>,
    userdata: Option<String>,
    ip: Option<String>,
    tags: Option<Vec<String>>,
    secrets: Option<Vec<String>>,
    protected: bool,
    hostname: Option<String>,
    disk_image: Option<String>,
    pci_devices: Option<Vec<String>>,
    network: Option<Value>,
}

impl CreateBody {
    /// What would be dropped silently: a client that relies on it has to know.
    fn beyond(&self) -> Option<&'static str> {
        let text = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
        [
            ("hostname", text(&self.hostname)),
            ("disk_image", text(&self.disk_image)),
            (
                "pci_devices",
                self.pci_devices
                    .as_ref()
                    .is_some_and(|list| !list.is_empty()),
            ),
            ("network", self.network.is_some()),
            ("protected", self.protected),
        ]
        .into_iter()
        .find_map(|(name, asked)| asked.then_some(name))
    }
}

/// `POST /hostgroup/{group}/nodes`.
pub(crate) async fn create(
    State(app): State<App>,
    Path(group): Path<String>,
    query: Query,
    bytes: Bytes,
) -> Answer {
    let group = find_group(&app, &group)?.clone();
    let body: CreateBody = body::object(&bytes)?;
    let wait = Wait::read(&query)?;
    if let Some(name) = body.beyond() {
        let text = format!("{name} is not part of this stand-in");
        return Err(Failure::new(400, text));
    }
    let wish = wish(&app, &group, body)?;
    let fleet = &app.fleet;
    let node = fleet
        .create(&group, wish, false)
        .map_err(|text| Failure::new(400, text))?;
    let hostname = node.record.hostname.clone();
    let launch = tokio::spawn({
        let (fleet, hostname) = (Arc::clone(fleet), hostname.clone());
        async move { fleet.launch(&hostname).await }
    });
    if let Some(wait) = wait {
        if let Ok(Err(error)) = launch.await {
            return Err(Failure::new(
                500,
                format!("failed to launch {hostname}: {error:#}"),
            ));
        }
        if !fleet.wait_ready(&node, wait.userdata, wait.limit).await {
            fleet.delete(&node).await?;
            return Err(Failure::new(
                408,
                format!("timed out waiting for {hostname}; the VM was removed"),
            ));
        }
    }
    let status = if fleet.variant.is("create-status", "200") {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, Json(wire::created(fleet, &node.record))).into_response())
}

/// What a client that waits waits for.
pub(crate) struct Wait {
    /// Also for the first boot's script.
    pub(crate) userdata: bool,
    /// For how long.
    pub(crate) limit: Duration,
}

impl Wait {
    /// From `wait` and `timeout`.
    pub(crate) fn read(query: &Query) -> Result<Option<Self>, Failure> {
        let limit = match query.get("timeout") {
            None => Duration::from_mins(5),
            Some(text) => time::go_duration(text)
                .map_err(|error| Failure::new(400, format!("invalid timeout: {error}")))?,
        };
        match query.get("wait") {
            None => Ok(None),
            Some("agent") => Ok(Some(Self {
                userdata: false,
                limit,
            })),
            Some("userdata") => Ok(Some(Self {
                userdata: true,
                limit,
            })),
            Some(other) => Err(Failure::new(400, format!("invalid wait: `{other}`"))),
        }
    }
}

fn wish(app: &App, group: &Group, body: CreateBody) -> Result<Wish, Failure> {
    let cpus = body.cpus.filter(|cpus| *cpus > 0);
    let ram_bytes = body.ram_bytes.filter(|bytes| *bytes > 0);
    if let Some(cpus) = cpus.filter(|cpus| *cpus > group.cpus) {
        return Err(Failure::new(
            400,
            format!(
                "cpus {cpus} exceeds the host group's limit of {}",
                group.cpus
            ),
        ));
    }
    if let Some(bytes) = ram_bytes.filter(|bytes| *bytes > group.ram_bytes) {
        let limit = group.ram_bytes;
        return Err(Failure::new(
            400,
            format!("ram_bytes {bytes} exceeds the host group's limit of {limit}"),
        ));
    }
    if body.gpu_count.unwrap_or(0) > group.gpu_count {
        return Err(Failure::new(
            400,
            "gpu_count exceeds the host group's limit",
        ));
    }
    let address = match body.ip.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(
            text.split('/')
                .next()
                .and_then(|address| address.parse().ok())
                .ok_or_else(|| Failure::new(400, format!("invalid ip: `{text}`")))?,
        ),
    };
    let secrets = body.secrets.filter(|names| !names.is_empty());
    if !app.fleet.variant.is("unknown-secret", "ignored") {
        for name in secrets.iter().flatten() {
            if !Secrets::valid(name) || !app.fleet.secrets.has(name) {
                return Err(Failure::new(400, format!("secret {name} not found")));
            }
        }
    }
    Ok(Wish {
        cpus,
        ram_bytes,
        persistent: body.persistent,
        address,
        tags: body.tags.unwrap_or_default(),
        ssh_keys: body.ssh_keys.unwrap_or_default(),
        import_user: body
            .import_user
            .or(body.github_user)
            .filter(|user| !user.is_empty()),
        userdata: body.userdata,
        secrets,
    })
}

/// `DELETE /hostgroup/{group}/nodes/{hostname}`.
pub(crate) async fn remove(
    State(app): State<App>,
    Path((group, hostname)): Path<(String, String)>,
) -> Answer {
    let group = find_group(&app, &group)?;
    let node = app
        .fleet
        .node(&hostname)
        .filter(|node| node.record.group == group.name)
        .ok_or_else(|| no_node(&hostname, group))?;
    if node.record.protected {
        return Err(Failure::new(
            403,
            format!("{hostname} is protected: it was launched from the config file"),
        ));
    }
    // On its own: a request that has begun goes on when its client is gone.
    let fleet = Arc::clone(&app.fleet);
    let deleting = tokio::spawn(async move { fleet.delete(&node).await });
    if !deleting.await.map_err(anyhow::Error::from)?? {
        return Err(no_node(&hostname, group));
    }
    if app.fleet.variant.is("delete-status", "204") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(
        Json(json!({"message": format!("{hostname} deleted"), "disk_removed": "true"}))
            .into_response(),
    )
}

fn no_node(hostname: &str, group: &Group) -> Failure {
    Failure::new(404, format!("node {hostname} not found in {}", group.name))
}

fn find_group<'a>(app: &'a App, name: &str) -> Result<&'a Group, Failure> {
    app.fleet
        .group(name)
        .ok_or_else(|| Failure::new(404, format!("host group {name} not found")))
}
