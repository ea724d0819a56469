//! The choices that the public contract leaves open, made by `--variant` of the lab.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};

/// Every key with its values; the first is the default.
const CHOICES: [(&str, &[&str]); 24] = [
    ("arch", &["x86_64", "amd64"]),
    ("create-status", &["201", "200"]),
    ("delete-status", &["200", "204"]),
    ("disk-lost", &["new", "refused"]),
    ("exec-frames", &["typed", "untyped"]),
    ("exec-reap", &["always", "ended"]),
    ("exec-uid", &["0", "1000"]),
    ("fixed-reboot", &["stops", "relaunched"]),
    ("fs-mtime", &["seconds", "rfc3339"]),
    ("healthz", &["json", "text"]),
    ("host-keys", &["made", "baked"]),
    ("hostnames", &["lowest-free", "monotonic"]),
    ("licence-daemons", &["unlimited", "1", "2", "3"]),
    ("masquerade", &["all", "public-only"]),
    ("no-userdata", &["ran", "never"]),
    ("node-fields", &["present", "absent"]),
    ("node-stats", &["object", "array"]),
    ("poweroff", &["hangs", "stops"]),
    ("promote-phase", &["15s", "3s", "6s", "9s", "12s"]),
    ("secret-time", &["mod_time", "modified_at"]),
    ("secrets-dir", &["auto", "manual"]),
    ("token", &["once", "per-start"]),
    ("unknown-secret", &["refused", "ignored"]),
    ("userdata-blank-line", &["tolerated", "fatal"]),
];

/// The variants chosen for this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variant(BTreeMap<String, String>);

impl Variant {
    /// Reads `variant.json`; no file means no choice.
    pub(crate) fn read(lab: &Path) -> Result<Self> {
        let path = lab.join("variant.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let map = serde_json::from_str(&text)
            .with_context(|| format!("{} is not an object of strings", path.display()))?;
        Ok(Self(map))
    }

    /// Choices that nobody here knows: most likely misspelt, and then without effect.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let known = |key: &str, value: &str| {
            CHOICES
                .iter()
                .any(|(name, values)| *name == key && values.contains(&value))
        };
        self.0
            .iter()
            .filter(|(key, value)| !known(key, value))
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    /// Whether `key` was set to `value`.
    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.get(key) == Some(value)
    }

    /// The value chosen for `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// One choice made by a test.
    #[cfg(test)]
    pub(crate) fn one(key: &str, value: &str) -> Self {
        Self(BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misspelt variant would let a test pass that tested nothing.
    #[test]
    fn misspelt_choices_are_told() {
        assert!(Variant::one("hostnames", "monotonic").unknown().is_empty());
        assert_eq!(
            Variant::one("hostname", "monotonic").unknown(),
            ["hostname=monotonic"]
        );
        assert_eq!(Variant::one("token", "daily").unknown(), ["token=daily"]);
    }
}
