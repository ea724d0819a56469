//! Local files: private from creation, replaced whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::failure::{Code, Failure, Result};

/// Writes a file 0600 through a temporary one in the same directory, which is made (0700) where missing.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let write = || -> std::io::Result<()> {
        let directory = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        // tempfile creates 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename itself must survive a power cut.
        std::fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| {
        Failure::new(Code::LocalFile, format!("cannot write {}", path.display())).because(error)
    })
}

/// Replaces a file of the user's own: whole or not at all, with the mode it has, where a link to it leads.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    replace_as(path, content, false)
}

/// The same with mode 0600 from the first byte on, whatever mode it had.
pub fn replace_private(path: &Path, content: &[u8]) -> Result<()> {
    replace_as(path, content, true)
}

fn replace_as(path: &Path, content: &[u8], private: bool) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let path = fs_err::canonicalize(path)?;
        let facts = fs_err::metadata(&path)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        // tempfile creates 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        if !private {
            file.as_file().set_permissions(facts.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| {
        Failure::new(Code::LocalFile, format!("cannot write {}", path.display())).because(error)
    })
}

/// Whether others than its owner can read a file, or that cannot be seen.
pub fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let facts = fs_err::metadata(path);
    facts.map_or(true, |facts| facts.permissions().mode() & 0o077 != 0)
}

/// Keeps a copy of a file that is about to be replaced, 0600: `NAME.SUFFIX`, then `NAME.SUFFIX.2` and so on. No copy is ever
/// replaced; where one has this content there is no other. Returns where it is.
pub fn keep_copy(path: &Path, suffix: &str, content: &[u8]) -> Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        if number > 1 {
            name.push(format!(".{number}"));
        }
        let copy = PathBuf::from(name);
        match fs_err::read(&copy) {
            Ok(there) if there == content => return Ok(copy),
            Ok(_) => number = number.saturating_add(1),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return write_private(&copy, content).map(|()| copy);
            }
            Err(error) => {
                return Err(Failure::new(
                    Code::LocalFile,
                    format!("cannot read {}", copy.display()),
                )
                .because(error)
                .hint(format!("ls -l {}", copy.display())));
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A file's or directory's permissions.
    pub(crate) fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn no_copy_replaces_another_and_all_are_their_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("state.json");
        for content in ["a", "a", "b", "a", "c"] {
            keep_copy(&path, "old", content.as_bytes()).unwrap();
        }
        for (name, content) in [("", "a"), (".2", "b"), (".3", "c")] {
            let copy = root.path().join(format!("state.json.old{name}"));
            assert_eq!(fs_err::read_to_string(&copy).unwrap(), content);
            assert_eq!(mode(&copy), 0o600);
        }
        assert_eq!(fs_err::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_that_gets_a_password_is_closed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("cluster.toml");
        fs_err::write(&path, "a").unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, b"b").unwrap();
        assert_eq!(mode(&path), 0o644);
        replace_private(&path, b"c").unwrap();
        assert_eq!(mode(&path), 0o600);
    }
}
