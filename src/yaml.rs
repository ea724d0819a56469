//! YAML in and out, in one place: quoted for YAML 1.1 readers, errors without snippets (they could hold a token).

use serde::Serialize;

use crate::failure::{Code, Failure, Result};

/// Reading options: no snippets of the text in errors.
pub fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { with_snippet: false }
}

/// Writes a value as YAML.
pub fn write(value: &impl Serialize) -> Result<String> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::new(Code::LocalFile, "cannot write YAML").because(error))
}
