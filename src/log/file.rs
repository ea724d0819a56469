//! The file of one run: private, named after its time and command; the last of them are kept.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many logs are kept.
const KEPT: usize = 20;

/// An open log.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// A new one in `directory`, which is made where missing; the oldest beyond the last 20 go.
    pub(super) fn create(directory: &Path, command: &str) -> Option<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .ok()?;
        let time = crate::time::utc(SystemTime::now()).replace(['-', ':'], "");
        let path = directory.join(format!("{time}-{command}.log"));
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .ok()?;
        prune(directory);
        Some(Self { path, file })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line; a full disk is told by what fails because of it.
    pub(super) fn write(&mut self, line: &str) {
        let _ = self.file.write_all(format!("{line}\n").as_bytes());
    }
}

/// The oldest go.
fn prune(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok()).collect();
    for name in crate::deletion::surplus(names, KEPT) {
        let _ = std::fs::remove_file(directory.join(name));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn logs_are_private_and_the_last_twenty_stay() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("logs");
        std::fs::create_dir(&directory).unwrap();
        for n in 10..40 {
            std::fs::write(directory.join(format!("202001{n}T000000Z-init.log")), "").unwrap();
        }
        std::fs::write(directory.join("notes.log"), "mine").unwrap();
        let mut log = LogFile::create(&directory, "init").unwrap();
        log.write("a line");
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "a line\n");
        let mode = std::fs::metadata(log.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(directory.join("notes.log").exists());
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), KEPT + 1);
        assert!(!directory.join("20200110T000000Z-init.log").exists());
    }
}
