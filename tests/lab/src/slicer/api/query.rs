//! Query strings with repeated keys.

use axum::{
    extract::{FromRequestParts, Query as Pairs},
    http::request::Parts,
};

use super::failure::Failure;

/// The pairs of a query string, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let Pairs::<Vec<(String, String)>>(pairs) = Pairs::try_from_uri(&parts.uri)
            .map_err(|error| Failure::new(400, format!("invalid query: {error}")))?;
        match pairs.iter().find(|(_, value)| value.contains('\0')) {
            // No command, variable or path can hold one.
            Some((key, _)) => Err(Failure::new(400, format!("invalid {key}: a NUL byte"))),
            None => Ok(Self(pairs)),
        }
    }
}

impl Query {
    /// The first value of a key; an empty one counts as none.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.raw(key).filter(|value| !value.is_empty())
    }

    /// The first value of a key, empty or not.
    pub(crate) fn raw(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// A number.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        self.get(key)
            .map(|text| {
                text.parse()
                    .map_err(|_| Failure::new(400, format!("invalid {key}: `{text}`")))
            })
            .transpose()
    }

    /// A truth value as Go reads it.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, Failure> {
        match self.get(key) {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(text) => Err(Failure::new(400, format!("invalid {key}: `{text}`"))),
        }
    }

    /// A mode in octal.
    pub(crate) fn permissions(&self) -> Result<Option<u32>, Failure> {
        self.get("permissions").map(octal).transpose()
    }
}

/// A mode in octal, as `0644` or `644`.
pub(crate) fn octal(text: &str) -> Result<u32, Failure> {
    u32::from_str_radix(text.trim_start_matches("0o"), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| Failure::new(400, format!("invalid permissions: `{text}`")))
}
