//! A VM's tags, as Slicer's SDK has them (types.go, `SlicerVMTags` and `SlicerVMTagUpdate`).

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    App, body,
    failure::{Answer, Failure},
};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Change {
    add: Vec<String>,
    remove: Vec<String>,
    replace: Option<Vec<String>>,
}

impl Change {
    fn apply(self, tags: &mut Vec<String>) {
        if let Some(replacement) = self.replace {
            *tags = replacement;
        }
        tags.retain(|tag| !self.remove.contains(tag));
        tags.extend(self.add);
        let mut seen = std::collections::BTreeSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
    }
}

/// `GET /vm/{hostname}/tags`.
pub(crate) async fn list(State(app): State<App>, Path(hostname): Path<String>) -> Answer {
    let node = app
        .fleet
        .node(&hostname)
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    Ok(told(&hostname, &node.record.tags))
}

/// `PATCH /vm/{hostname}/tags`.
pub(crate) async fn change(
    State(app): State<App>,
    Path(hostname): Path<String>,
    bytes: Bytes,
) -> Answer {
    let change: Change = body::object(&bytes)?;
    if change.replace.is_some() && !(change.add.is_empty() && change.remove.is_empty()) {
        let text = "replace cannot be combined with add or remove";
        return Err(Failure::new(400, text));
    }
    let record = app
        .fleet
        .change_tags(&hostname, |tags| change.apply(tags))
        .ok_or_else(|| Failure::no_vm(&hostname))?;
    record.save(&app.fleet.places.vm(&hostname))?;
    Ok(told(&hostname, &record.tags))
}

fn told(hostname: &str, tags: &[String]) -> Response {
    Json(json!({"hostname": hostname, "tags": tags})).into_response()
}
