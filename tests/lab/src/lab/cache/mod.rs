//! Everything slow, built once: keyed by a hash of its inputs, made under a temporary
//! name and renamed when it is whole.

pub(crate) mod binaries;
mod debian;
mod images;
pub(crate) mod kubernetes;
pub(crate) mod parts;
pub(crate) mod prune;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::say;

/// Collects what a cached thing depends on.
pub(crate) struct Key(Sha256);

impl Key {
    /// A key with nothing in it.
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds one input, by name, so that inputs cannot run into each other.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.update(format!("{name}={}\n", value.len()));
        self.0.update(value);
        self
    }

    /// Adds a file, or every file of a directory.
    pub(crate) fn with_files(mut self, top: &Path) -> Result<Self> {
        let mut todo = vec![top.to_owned()];
        let mut files = Vec::new();
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                for entry in std::fs::read_dir(&path)? {
                    todo.push(entry?.path());
                }
            } else {
                files.push(path);
            }
        }
        files.sort();
        for file in files {
            let content =
                std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file
                .strip_prefix(top)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            self = self.with(&name, content);
        }
        Ok(self)
    }

    /// The directory's name.
    pub(crate) fn finish(self) -> String {
        use std::fmt::Write as _;
        self.0
            .finalize()
            .iter()
            .take(8)
            .fold(String::new(), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

/// The cached thing under `shelf`, built by `build` into a directory that is renamed when whole.
pub(crate) fn keyed(
    shelf: &Path,
    key: &str,
    what: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let wanted = shelf.join(key);
    if wanted.is_dir() {
        prune::used(&wanted);
        return Ok(wanted);
    }
    std::fs::create_dir_all(shelf)?;
    // One builder at a time; who waited finds the thing there.
    let lock = std::fs::File::create(shelf.join(".lock"))?;
    lock.lock()
        .with_context(|| format!("cannot lock {}", shelf.display()))?;
    if wanted.is_dir() {
        return Ok(wanted);
    }
    let others = std::fs::read_dir(shelf)?
        .flatten()
        .any(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let why = if others {
        "its inputs changed"
    } else {
        "not in the cache yet"
    };
    let draft = shelf.join(format!(".{key}.draft"));
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    let result = say::timed(what, why, || {
        std::fs::create_dir(&draft)?;
        build(&draft)
    });
    if result.is_err() {
        // The error that counts is the build's.
        let _ = std::fs::remove_dir_all(&draft);
    }
    result?;
    std::fs::rename(&draft, &wanted)?;
    prune::used(&wanted);
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed file, name or value must make another key; the same inputs the same.
    #[test]
    fn keys_follow_their_inputs() {
        let directory = tempfile::tempdir().unwrap();
        let key = || {
            Key::new()
                .with("v", "1")
                .with_files(directory.path())
                .unwrap()
                .finish()
        };
        std::fs::write(directory.path().join("a"), "x").unwrap();
        let first = key();
        assert_eq!(first, key());
        assert_eq!(first.len(), 16);
        std::fs::write(directory.path().join("a"), "y").unwrap();
        let second = key();
        assert_ne!(first, second);
        std::fs::rename(directory.path().join("a"), directory.path().join("b")).unwrap();
        assert_ne!(second, key());
    }

    /// Inputs must not run into each other.
    #[test]
    fn keys_separate_their_inputs() {
        assert_ne!(
            Key::new().with("a", "b=1\nc").finish(),
            Key::new().with("a", "").with("b", "c").finish()
        );
    }

    /// A build that fails leaves nothing that the next call would take for whole.
    #[test]
    fn a_failed_build_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let failed = keyed(directory.path(), "k", "a thing", |draft| {
            std::fs::write(draft.join("half"), "")?;
            anyhow::bail!("no")
        });
        assert!(failed.is_err());
        let built = keyed(directory.path(), "k", "a thing", |draft| {
            assert!(!draft.join("half").exists());
            Ok(())
        });
        assert_eq!(built.unwrap(), directory.path().join("k"));
        let kept = keyed(directory.path(), "k", "a thing", |_| {
            anyhow::bail!("built twice")
        });
        assert!(kept.is_ok());
    }
}
