//! Generated files in a directory: written whole, taken away when they are no longer generated, and never laid over
//! what somebody else wrote or edited.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};

use crate::deletion;
use crate::failure::{Code, Failure, Result};
use crate::generate::File;
use crate::secret::sha256;

/// What was generated here before, in the form that `sha256sum -c` reads.
const LIST: &str = ".slicer-k3s-files";

/// Writes the files, whose paths are relative to the directory.
pub(super) fn write(directory: &Path, files: &[File]) -> Result<()> {
    let before = known(directory);
    let foreign: Vec<&str> = files
        .iter()
        .filter(|file| !ours(directory, file, &before))
        .map(|file| file.path.as_str())
        .collect();
    if !foreign.is_empty() {
        return Err(Failure::new(
            Code::LocalFile,
            format!(
                "{} holds files that slicer-k3s did not write",
                directory.display()
            ),
        )
        .because(format!(
            "somebody else wrote or changed {}",
            foreign.join(", ")
        ))
        .hint("move them away, or name another directory with --out"));
    }
    let failed = |error: std::io::Error| {
        Failure::new(
            Code::LocalFile,
            format!("cannot write to {}", directory.display()),
        )
        .because(error)
        .hint(format!("df -h {0}; ls -ld {0}", directory.display()))
    };
    let mut list = String::new();
    for file in files {
        put(&directory.join(&file.path), file.mode, &file.content).map_err(failed)?;
        let _ = writeln!(list, "{}  {}", sha256(file.content.as_bytes()), file.path);
    }
    for (path, hash) in &before {
        let path = directory.join(path);
        let gone = !files.iter().any(|file| directory.join(&file.path) == path);
        if gone && deletion::is_unchanged(hash, hash_of(&path).as_deref()) {
            fs_err::remove_file(path).map_err(failed)?;
        }
    }
    put(&directory.join(LIST), "0644", &list).map_err(failed)
}

/// What the list of an earlier run says: path and hash.
fn known(directory: &Path) -> BTreeMap<String, String> {
    let text = fs_err::read_to_string(directory.join(LIST)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once("  "))
        // Only names below the directory: a list from elsewhere must not lead out of it.
        .filter(|(_, path)| {
            let mut parts = Path::new(path).components();
            parts.all(|part| matches!(part, Component::Normal(_)))
        })
        .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
        .collect()
}

/// Whether nothing of anybody else's would be lost: nothing is there, what we wrote, or what we would write.
fn ours(directory: &Path, file: &File, before: &BTreeMap<String, String>) -> bool {
    let path = directory.join(&file.path);
    match fs_err::symlink_metadata(&path) {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(facts) if facts.is_file() => hash_of(&path).is_some_and(|hash| {
            before.get(&file.path) == Some(&hash) || hash == sha256(file.content.as_bytes())
        }),
        Ok(_) => false,
    }
}

fn hash_of(path: &Path) -> Option<String> {
    fs_err::read(path).ok().map(|bytes| sha256(&bytes))
}

fn put(path: &Path, mode: &str, content: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(directory)?;
    // tempfile creates 0600: a secret is never open, not for a moment.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content.as_bytes())?;
    let mode = u32::from_str_radix(mode, 8).unwrap_or(0o600);
    fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(mode))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> File {
        File {
            path: path.to_owned(),
            mode: "0600",
            content: content.to_owned(),
            secret: true,
        }
    }

    fn read(directory: &Path, path: &str) -> Option<String> {
        fs_err::read_to_string(directory.join(path)).ok()
    }

    #[test]
    fn our_own_files_are_renewed_and_those_no_longer_generated_go() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("out");
        write(&dir, &[file("a/x", "1"), file("b/y", "2")]).unwrap();
        write(&dir, &[file("a/x", "3")]).unwrap();
        assert_eq!(read(&dir, "a/x").as_deref(), Some("3"));
        assert_eq!(read(&dir, "b/y"), None);
        let mode = fs_err::metadata(dir.join("a/x")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn what_somebody_else_wrote_or_edited_stays_and_nothing_else_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs_err::write(dir.join("theirs"), "theirs").unwrap();
        let failure = write(dir, &[file("new", "1"), file("theirs", "1")]).unwrap_err();
        assert!(failure.cause.unwrap().contains("theirs"));
        assert_eq!(read(dir, "new"), None);
        write(dir, &[file("a", "1"), file("b", "1")]).unwrap();
        fs_err::write(dir.join("a"), "edited").unwrap();
        assert!(write(dir, &[file("a", "2")]).is_err());
        assert_eq!(read(dir, "a").as_deref(), Some("edited"));
        // Edited and no longer generated: still theirs.
        write(dir, &[file("b", "1")]).unwrap();
        assert_eq!(read(dir, "a").as_deref(), Some("edited"));
        std::os::unix::fs::symlink("/dev/null", dir.join("c")).unwrap();
        assert!(write(dir, &[file("c", "1")]).is_err());
    }
}
