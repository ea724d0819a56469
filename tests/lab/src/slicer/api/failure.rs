//! Errors as the API tells them: a status and `{"error": "…"}`.

use axum::{
    Json,
    body::to_bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    text: String,
}

impl Failure {
    /// A failure with this status and this text.
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            text: text.into(),
        }
    }

    /// 404 for a VM.
    pub(crate) fn no_vm(hostname: &str) -> Self {
        Self::new(404, format!("VM {hostname} not found"))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(500, format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(500, error.to_string())
    }
}

/// The most that a refusal says, in bytes.
const WORDS: usize = 64 << 10;

/// An answer whose refusal is JSON, also where the framework refused: a body too large, a path that is not UTF-8.
pub(crate) async fn as_json(response: Response) -> Response {
    let status = response.status();
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let bytes = to_bytes(response.into_body(), WORDS).await;
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    Failure { status, text }.into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.text}))).into_response()
    }
}

/// What a handler gives.
pub(crate) type Answer = Result<Response, Failure>;
