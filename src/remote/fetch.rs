//! A file of a machine, copied to this workstation as root reads it: whole, checked by its hash, 0600.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::{Machine, Script};
use crate::failure::{Code, Failure, Result};
use crate::secret::hex;

/// Nothing comes for longer.
const SILENCE: Duration = Duration::from_secs(30);

impl Machine {
    /// Copies `path` to the local `file`; what arrives must have this SHA-256.
    pub async fn fetch(&self, path: &str, file: &Path, sha256: &str) -> Result<()> {
        let here = |error: std::io::Error| {
            Failure::new(Code::LocalFile, format!("cannot write {}", file.display())).because(error)
        };
        let there = |cause: String| {
            Failure::new(
                Code::Command,
                format!("cannot copy {path} from {}", self.name()),
            )
            .because(cause)
            .hint("run again")
        };
        let directory = file.parent().unwrap_or(Path::new("."));
        // tempfile creates 0600.
        let mut copy = tempfile::NamedTempFile::new_in(directory).map_err(here)?;
        let mut stream = self.open(Script::new("cat -- {}", &[path]).text()).await?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0_u8; 64 * 1024]);
        loop {
            let read = tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await;
            let count = read
                .map_err(|_| there(format!("nothing came for {} s", SILENCE.as_secs())))?
                .map_err(|error| there(error.to_string()))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            copy.write_all(&buffer[..count]).map_err(here)?;
        }
        if hex(&hash.finalize()) != sha256 {
            return Err(there("what arrived is not what lies there".into()));
        }
        copy.as_file().sync_all().map_err(here)?;
        copy.persist(file).map_err(|error| here(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Local, Sudo};
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn a_file_arrives_whole_and_private_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (there, here) = (directory.path().join("a b"), directory.path().join("copy"));
        let content = vec![7_u8; 300_000];
        std::fs::write(&there, &content).unwrap();
        let machine = Machine::new("m", Box::new(Local), Sudo::Root);
        let path = there.to_str().unwrap();
        assert!(machine.fetch(path, &here, "beef").await.is_err());
        assert!(!here.exists());
        let hash = crate::secret::sha256(&content);
        machine.fetch(path, &here, &hash).await.unwrap();
        assert_eq!(std::fs::read(&here).unwrap(), content);
        let mode = std::fs::metadata(&here).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
