//! JSON bodies of requests, read as strictly as the document describes them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Failure;

/// The body's object. Serde alone would read a list as a structure, and `null` as a field that is not there.
///
/// # Errors
///
/// 400 for a body that is not JSON, not an object, or has a field that is `null` or of another type.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let invalid = |why: String| Failure::new(400, format!("invalid request body: {why}"));
    let value: Value = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    let Value::Object(fields) = &value else {
        return Err(invalid("it is not an object".to_owned()));
    };
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.is_null()) {
        return Err(invalid(format!("{name} is null")));
    }
    serde_json::from_value(value).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Named {
        name: Option<String>,
    }

    /// A list is no object, and null no text: a client that sends them has a mistake.
    #[test]
    fn only_objects_without_nulls_are_read() {
        let named = object::<Named>(br#"{"name":"a","other":1}"#).unwrap();
        assert_eq!(named.name.as_deref(), Some("a"));
        assert!(object::<Named>(b"{}").unwrap().name.is_none());
        for body in [
            "[]",
            r#"["a"]"#,
            r#"{"name":null}"#,
            r#"{"name":1}"#,
            "null",
            "",
            "x",
        ] {
            assert!(object::<Named>(body.as_bytes()).is_err(), "{body}");
        }
    }
}
