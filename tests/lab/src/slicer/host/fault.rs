//! Faults that `lab fault` has put into this host; read at every use.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What goes wrong, and how.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The kind of trouble.
    pub(crate) mode: String,
    /// For `slow`: how many milliseconds.
    #[serde(default)]
    pub(crate) ms: u64,
    /// For API faults: only paths that begin so.
    #[serde(default)]
    pub(crate) path: Option<String>,
}

/// The host's fault directory.
#[derive(Debug, Clone)]
pub(crate) struct Faults(PathBuf);

impl Faults {
    /// The faults of the host whose lab directory this is.
    pub(crate) fn of(lab: &Path) -> Self {
        Self(lab.join("faults"))
    }

    /// The API's fault, of any of the daemon's groups.
    pub(crate) fn api<'a>(&self, groups: impl Iterator<Item = &'a str>) -> Option<Fault> {
        groups
            .chain(["*"])
            .find_map(|group| self.read("slicer-api", group))
    }

    /// Whether this VM fails to boot (`never`) or dies (`die`).
    pub(crate) fn boot(&self, hostname: &str) -> Option<String> {
        self.either("vm-boot", hostname).map(|fault| fault.mode)
    }

    /// Whether this VM's userdata fails.
    pub(crate) fn userdata(&self, hostname: &str) -> bool {
        self.either("userdata", hostname)
            .is_some_and(|fault| fault.mode == "fail")
    }

    fn either(&self, kind: &str, name: &str) -> Option<Fault> {
        self.read(kind, name).or_else(|| self.read(kind, "*"))
    }

    fn read(&self, kind: &str, name: &str) -> Option<Fault> {
        let text = std::fs::read_to_string(self.0.join(format!("{kind}-{name}.json"))).ok()?;
        serde_json::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fault of one group must not hit another; `*` hits all.
    #[test]
    fn faults_hit_whom_they_name() {
        let lab = tempfile::tempdir().unwrap();
        std::fs::create_dir(lab.path().join("faults")).unwrap();
        let faults = Faults::of(lab.path());
        let write = |name: &str, text: &str| {
            std::fs::write(lab.path().join("faults").join(name), text).unwrap();
        };
        write("slicer-api-a.json", r#"{"mode":"500"}"#);
        assert_eq!(faults.api(["a"].into_iter()).unwrap().mode, "500");
        assert_eq!(faults.api(["b"].into_iter()), None);
        write("slicer-api-*.json", r#"{"mode":"slow","ms":5}"#);
        assert_eq!(faults.api(["b"].into_iter()).unwrap().ms, 5);
        write("vm-boot-a-1.json", r#"{"mode":"never"}"#);
        assert_eq!(faults.boot("a-1").as_deref(), Some("never"));
        assert_eq!(faults.boot("a-2"), None);
    }
}
