//! What Slicer's API answers, in the few fields that we use.
//!
//! Source: slicervm/sdk@fb6f052 types.go and `types_secret.go`; docs.slicervm.com, reference/api.

use serde::Deserialize;
use serde_json::Value;

/// A list; `null` is an empty one.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct List<T>(Option<Vec<T>>);

impl<T> List<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        self.0.unwrap_or_default()
    }

    /// `None` where the answer was `null`.
    pub(super) fn listed(self) -> Option<Vec<T>> {
        self.0
    }
}

/// A host group of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
}

/// A VM's health.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Health {
    /// Time since its agent started, in a unit that differs between versions; 0 until it answers.
    #[serde(default)]
    pub agent_uptime: Option<f64>,
    /// Whether first boot's user data ran.
    #[serde(default)]
    pub userdata_ran: Option<bool>,
}

impl Health {
    /// Whether the agent answers.
    pub fn agent_answers(&self) -> bool {
        self.agent_uptime.is_some_and(|uptime| uptime > 0.0)
    }
}

/// A VM's serial console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Logs {
    /// Its last lines.
    #[serde(default)]
    pub content: String,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretEntry {
    /// Its name.
    pub name: String,
    #[serde(default)]
    mod_time: Option<Value>,
    #[serde(default)]
    modified_at: Option<Value>,
    /// Bytes of the value.
    #[serde(default)]
    pub size: Option<u64>,
}

impl SecretEntry {
    fn time(&self) -> Option<&Value> {
        self.mod_time.as_ref().or(self.modified_at.as_ref())
    }

    /// When it was written, in seconds since 1970 by its host's clock, where that is told as RFC 3339 tells times.
    pub fn written(&self) -> Option<i64> {
        crate::time::unix(self.time()?.as_str()?)
    }

    /// When and how large, in whatever spelling: changes when somebody writes the secret.
    pub fn stamp(&self) -> String {
        let time = match self.time() {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "-".to_owned(),
        };
        format!(
            "{} {}",
            time.replace(char::is_whitespace, "_"),
            self.size.unwrap_or(0)
        )
    }
}

/// The `error` of a refusal, else its text, at most 300 characters.
pub(super) fn error_text(body: &[u8]) -> String {
    let text = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| {
            value
                .get("error")
                .and_then(Value::as_str)
                .map(str::to_owned)
        })
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text: String = text.trim().chars().take(300).collect();
    if text.is_empty() {
        "no explanation".to_owned()
    } else {
        text
    }
}
