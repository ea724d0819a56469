//! `slicer secret …`.

use std::io::Read;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    args::{Secret, SecretArgs},
    client::{escape, full},
    connect::Connection,
    table,
};
use crate::say;

/// Runs a command about secrets.
pub(crate) async fn run(connection: &Connection, command: Secret) -> Result<()> {
    let client = connection.client()?;
    match command {
        Secret::Create(order) => {
            let mut body = fields(&order, true)?;
            body.insert("name".into(), json!(order.name));
            let body = full(Value::Object(body).to_string());
            client.send_joined(Method::POST, "/secrets", body).await?;
            say::line(format!("Secret created: {}", order.name));
        }
        Secret::Update(order) => {
            let body = full(Value::Object(fields(&order, false)?).to_string());
            client
                .send_joined(
                    Method::PATCH,
                    &format!("/secrets/{}", escape(&order.name)),
                    body,
                )
                .await?;
            say::line(format!("Secret updated: {}", order.name));
        }
        Secret::Remove { name } => {
            client
                .send_joined(
                    Method::DELETE,
                    &format!("/secrets/{}", escape(&name)),
                    full(""),
                )
                .await?;
            say::line(format!("Secret removed: {name}"));
        }
        Secret::List { verbose, json } => {
            let secrets = client.get_joined("/secrets").await?;
            if json {
                say::line(serde_json::to_string_pretty(&secrets)?);
            } else {
                list(&secrets, verbose);
            }
        }
    }
    Ok(())
}

fn list(secrets: &Value, verbose: bool) {
    let head: &[&str] = if verbose {
        &["NAME", "SIZE", "PERMISSIONS", "UID", "GID"]
    } else {
        &["NAME"]
    };
    let rows: Vec<Vec<String>> = secrets
        .as_array()
        .into_iter()
        .flatten()
        .map(|secret| {
            let text = |key: &str| secret[key].as_str().unwrap_or_default().to_owned();
            let (size, uid, gid) = (&secret["size"], &secret["uid"], &secret["gid"]);
            vec![
                text("name"),
                size.to_string(),
                text("permissions"),
                uid.to_string(),
                gid.to_string(),
            ]
        })
        .map(|row| row[..head.len()].to_vec())
        .collect();
    say::line(table::render(head, &rows));
}

/// The content comes from a flag, a file or standard input; an update without any leaves it.
fn fields(order: &SecretArgs, needs_data: bool) -> Result<Map<String, Value>> {
    let data = match (&order.from_literal, &order.from_file) {
        (Some(text), _) => Some(text.clone().into_bytes()),
        (None, Some(path)) => Some(
            std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))?,
        ),
        (None, None) if needs_data => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes)?;
            Some(bytes)
        }
        (None, None) => None,
    };
    let mut fields = Map::new();
    if let Some(data) = data {
        fields.insert("data".into(), json!(STANDARD.encode(data)));
    }
    if let Some(mode) = &order.permissions {
        fields.insert("permissions".into(), json!(mode));
    }
    if let Some(uid) = order.uid {
        fields.insert("uid".into(), json!(uid));
    }
    if let Some(gid) = order.gid {
        fields.insert("gid".into(), json!(gid));
    }
    Ok(fields)
}
