//! The choices that the public contract leaves open, made by `--variant` of the lab.
//!
//! | key | values (first is the default) |
//! |---|---|
//! | `create-status` | `201`, `200` |
//! | `delete-status` | `200`, `204` |
//! | `healthz` | `json`, `text` |
//! | `arch` | `x86_64` (as `uname -m`), `amd64` (as Go spells it) |
//! | `secret-time` | `mod_time`, `modified_at` |
//! | `node-fields` | `present`, `absent` (hostname, ip, `created_at` only) |
//! | `node-stats` | `object`, `array` |
//! | `hostnames` | `lowest-free`, `monotonic` |
//! | `exec-uid` | `0`, `1000`: whose rights `exec` has when the request does not say |
//! | `exec-frames` | `typed`, `untyped` (old agents) |
//! | `token` | `once`, `per-start` |
//! | `masquerade` | `all`, `public-only` (private destinations keep the VM's address) |
//! | `licence-daemons` | `unlimited`, a number (daemons at once on this host) |
//! | `userdata-blank-line` | `tolerated`, `fatal` |
//! | `no-userdata` | `ran`, `never`: `userdata_ran` of a VM that was given none |
//! | `poweroff` | `hangs` (as Firecracker), `stops` |
//! | `fixed-reboot` | `stops`, `relaunched`: what a guest's reboot does to a VM of the YAML's `count` |
//! | `secrets-dir` | `auto`, `manual` (a missing directory is a 500) |
//! | `unknown-secret` | `refused`, `ignored` |

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};

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
