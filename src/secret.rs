//! Tokens and passwords: no `Display`, a `Debug` that shows nothing, one greppable way out.

use std::sync::{PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

/// Every secret this process has held, so that none of them gets out in a machine's words.
static HELD: RwLock<Vec<SecretString>> = RwLock::new(Vec::new());

/// Shorter ones are parts of ordinary words.
const SHORTEST: usize = 8;

/// A value that must never reach argv, a unit file, a log or an event.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a value into custody.
    pub fn new(value: impl Into<String>) -> Self {
        let value = SecretString::from(value.into());
        let held = || HELD.read().unwrap_or_else(PoisonError::into_inner);
        let known = |list: &[SecretString]| {
            list.iter()
                .any(|held| held.expose_secret() == value.expose_secret())
        };
        if value.expose_secret().len() >= SHORTEST && !known(&held()) {
            HELD.write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(value.clone());
        }
        Self(value)
    }

    /// `bytes` random bytes in lower-case hex: safe in gcfg, YAML, shell and k3s tokens.
    pub fn random_hex(bytes: usize) -> std::io::Result<Self> {
        random_hex(bytes).map(Self::new)
    }

    /// SHA-256 of the value, in hex: what may be compared and written down in its place, where it is random.
    pub fn sha256(&self) -> String {
        sha256(self.expose().as_bytes())
    }

    /// The value itself; every use is a place to review.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Forgets every secret: a million made-up ones would each be looked for in every line.
#[cfg(test)]
pub(crate) fn forget_all() {
    HELD.write().unwrap_or_else(PoisonError::into_inner).clear();
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// None: an empty text.
impl Default for Secret {
    fn default() -> Self {
        Self::new("")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl std::hash::Hash for Secret {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

/// Written only into the 0600 state file.
impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A text without the secrets that this process holds.
pub fn redact(text: &str) -> std::borrow::Cow<'_, str> {
    let held = HELD.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = std::borrow::Cow::Borrowed(text);
    for secret in held.iter().map(ExposeSecret::expose_secret) {
        if text.contains(secret) {
            text = text.replace(secret, "[secret]").into();
        }
    }
    text
}

/// `bytes` random bytes in lower-case hex, of no value to anybody: names and marks.
pub fn random_hex(bytes: usize) -> std::io::Result<String> {
    let mut buffer = vec![0_u8; bytes];
    getrandom::fill(&mut buffer).map_err(std::io::Error::other)?;
    Ok(hex(&buffer))
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "Secret(…)");
    }

    #[test]
    fn what_was_once_a_secret_is_taken_out_of_every_text() {
        let _token = Secret::new("canary-in-a-mine");
        assert_eq!(redact("token canary-in-a-mine!"), "token [secret]!");
        let _short = Secret::new("pi");
        assert_eq!(redact("pi5"), "pi5");
    }

    #[test]
    fn random_values_are_hex_of_the_asked_length_and_differ() {
        let (a, b) = (
            Secret::random_hex(16).unwrap(),
            Secret::random_hex(16).unwrap(),
        );
        assert_eq!(a.expose().len(), 32);
        assert!(a.expose().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(a, b);
    }
}
