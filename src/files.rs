//! Local files: private from creation, replaced whole.

use std::io::Write as _;
use std::path::Path;

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
    let write = || -> std::io::Result<()> {
        let path = fs_err::canonicalize(path)?;
        let facts = fs_err::metadata(&path)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file().set_permissions(facts.permissions())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| {
        Failure::new(Code::LocalFile, format!("cannot write {}", path.display())).because(error)
    })
}
