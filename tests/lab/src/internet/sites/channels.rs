//! update.k3s.io: which release a channel points at.

use serde_json::json;

use super::releases::TAG;
use crate::content::{Asked, Content};

const ROOT: &str = "/v1-release/channels";
/// All point at the one release there is.
const CHANNELS: &[&str] = &["stable", "latest", "v1.34"];

/// The list of channels, or one channel's redirect to its release.
pub(super) fn answer(asked: &Asked) -> Content {
    match asked.path.strip_prefix(ROOT) {
        Some("" | "/") => list(),
        Some(rest) => match rest.strip_prefix('/') {
            Some(id) if CHANNELS.contains(&id) => {
                Content::redirect(format!("https://github.com/k3s-io/k3s/releases/tag/{TAG}"))
            }
            _ => Content::not_found(),
        },
        None => Content::not_found(),
    }
}

fn list() -> Content {
    let channels: Vec<_> = CHANNELS
        .iter()
        .map(|id| {
            json!({
                "id": id,
                "type": "channel",
                "links": {"self": format!("https://update.k3s.io{ROOT}/{id}")},
                "name": id,
                "latest": TAG,
            })
        })
        .collect();
    let body = json!({
        "type": "collection",
        "links": {"self": format!("https://update.k3s.io{ROOT}")},
        "resourceType": "channels",
        "data": channels,
    });
    Content::new("application/json", body.to_string())
}
