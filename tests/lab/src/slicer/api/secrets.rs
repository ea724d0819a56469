//! Secrets: metadata out, content in.

use std::io;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    App, body,
    failure::{Answer, Failure},
    query::octal,
};
use crate::daemon::secrets::{Change, Secrets};

#[derive(Deserialize)]
struct Body {
    name: Option<String>,
    data: Option<String>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Body {
    fn change(&self) -> Result<Change, Failure> {
        let data = self
            .data
            .as_deref()
            .map(|text| {
                STANDARD
                    .decode(text)
                    .map_err(|_| Failure::new(400, "data is not valid base64"))
            })
            .transpose()?;
        let mode = self
            .permissions
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(octal)
            .transpose()?;
        Ok(Change {
            data,
            mode,
            uid: self.uid,
            gid: self.gid,
        })
    }
}

/// `GET /secrets`.
pub(crate) async fn list(State(app): State<App>) -> Answer {
    let secrets = app
        .fleet
        .secrets
        .list()
        .map_err(|error| Failure::new(500, format!("Secrets directory error: {error}")))?;
    let mut values = serde_json::to_value(secrets).map_err(anyhow::Error::from)?;
    if app.fleet.variant.is("secret-time", "modified_at") {
        for fields in values
            .as_array_mut()
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            if let Some(time) = fields.remove("mod_time") {
                fields.insert("modified_at".into(), time);
            }
        }
    }
    Ok(Json(values).into_response())
}

/// `POST /secrets`.
pub(crate) async fn create(State(app): State<App>, bytes: Bytes) -> Answer {
    let body: Body = body::object(&bytes)?;
    let name = body.name.as_deref().unwrap_or_default();
    if !Secrets::valid(name) {
        return Err(Failure::new(400, format!("invalid secret name: `{name}`")));
    }
    let change = body.change()?;
    // Go reads a text that is not there as an empty one: who requires one can accept neither.
    if change.data.as_ref().is_none_or(Vec::is_empty) {
        return Err(Failure::new(400, "data is required"));
    }
    match app.fleet.secrets.create(name, &change) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::new(409, format!("secret {name} already exists")));
        }
        outcome => outcome?,
    }
    app.fleet.share_secrets();
    Ok(StatusCode::CREATED.into_response())
}

/// `PATCH /secrets/{name}`.
pub(crate) async fn update(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer {
    known(&app, &name)?;
    let body: Body = body::object(&bytes)?;
    app.fleet.secrets.update(&name, &body.change()?)?;
    app.fleet.share_secrets();
    Ok(StatusCode::OK.into_response())
}

/// `DELETE /secrets/{name}`.
pub(crate) async fn remove(State(app): State<App>, Path(name): Path<String>) -> Answer {
    known(&app, &name)?;
    match app.fleet.secrets.remove(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(404, format!("secret {name} not found")));
        }
        outcome => outcome?,
    }
    app.fleet.share_secrets();
    Ok(StatusCode::OK.into_response())
}

fn known(app: &App, name: &str) -> Result<(), Failure> {
    if app.fleet.secrets.has(name) {
        Ok(())
    } else {
        Err(Failure::new(404, format!("secret {name} not found")))
    }
}
