//! The daemon's secrets: files in `.secrets/` of its working directory.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::time;

/// What the API tells about a secret: never its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Secret {
    /// Its name.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its mode in octal.
    pub(crate) permissions: String,
    /// Its owner.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// When it was last written.
    pub(crate) mod_time: String,
}

/// What a request says about a secret.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// The new content.
    pub(crate) data: Option<Vec<u8>>,
    /// The new mode.
    pub(crate) mode: Option<u32>,
    /// The new owner.
    pub(crate) uid: Option<u32>,
    /// The new group.
    pub(crate) gid: Option<u32>,
}

/// The directory of secrets.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    /// The secrets of the daemon that works in this directory; made when missing unless told not to.
    pub(crate) fn in_directory(work: &Path, make: bool) -> io::Result<Self> {
        let path = work.join(".secrets");
        if make && !path.exists() {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self(path))
    }

    /// Whether a name can be that of a secret.
    pub(crate) fn valid(name: &str) -> bool {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    }

    /// All secrets, by name.
    pub(crate) fn list(&self) -> io::Result<Vec<Secret>> {
        let mut secrets = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let (Ok(name), meta) = (entry.file_name().into_string(), entry.metadata()?) else {
                continue;
            };
            if meta.is_file() && Self::valid(&name) {
                secrets.push(Secret {
                    name,
                    size: meta.len(),
                    permissions: format!("{:04o}", meta.mode() & 0o7777),
                    uid: meta.uid(),
                    gid: meta.gid(),
                    mod_time: time::daemon_time(time::nanos(meta.mtime(), meta.mtime_nsec())),
                });
            }
        }
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(secrets)
    }

    /// Whether a secret exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        Self::valid(name) && self.path(name).is_file()
    }

    /// Writes a secret that does not exist yet (0600 by default); of several at once, one does.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, or what kept it from being written.
    pub(crate) fn create(&self, name: &str, change: &Change) -> io::Result<()> {
        let data = change.data.as_deref().unwrap_or_default();
        let mode = change.mode.unwrap_or(0o600);
        let file = self.written(data, mode, change.uid, change.gid)?;
        file.persist_noclobber(self.path(name))
            .map_err(|error| error.error)?;
        Ok(())
    }

    /// Changes a secret: what is not named stays.
    pub(crate) fn update(&self, name: &str, change: &Change) -> io::Result<()> {
        let path = self.path(name);
        let meta = fs::metadata(&path)?;
        let mode = change.mode.unwrap_or(meta.mode() & 0o7777);
        let (uid, gid) = (
            change.uid.unwrap_or(meta.uid()),
            change.gid.unwrap_or(meta.gid()),
        );
        if let Some(data) = &change.data {
            let file = self.written(data, mode, Some(uid), Some(gid))?;
            file.persist(&path).map_err(|error| error.error)?;
            return Ok(());
        }
        std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    }

    /// Removes a secret.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    /// Copies the chosen secrets (all, when none are named) with mode and owner into a directory, and removes others.
    /// Whoever reads there meanwhile, or copies too, finds each secret whole.
    pub(crate) fn copy_to(&self, chosen: Option<&[String]>, target: &Path) -> io::Result<()> {
        fs::create_dir_all(target)?;
        fs::set_permissions(target, fs::Permissions::from_mode(0o700))?;
        let mut names: Vec<String> = self
            .list()
            .unwrap_or_default()
            .into_iter()
            .map(|secret| secret.name)
            .collect();
        names.retain(|name| chosen.is_none_or(|chosen| chosen.contains(name)));
        for name in &names {
            match self.copy(name, target) {
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
        for entry in fs::read_dir(target)? {
            let entry = entry?;
            if !names.iter().any(|name| entry.file_name() == name.as_str()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn copy(&self, name: &str, target: &Path) -> io::Result<()> {
        let mut from = fs::File::open(self.path(name))?;
        let meta = from.metadata()?;
        // Beside the directory: the guest takes all that is in it.
        let mut to = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(target.parent().unwrap_or(target))?;
        io::copy(&mut from, &mut to)?;
        std::os::unix::fs::fchown(to.as_file(), Some(meta.uid()), Some(meta.gid()))?;
        to.as_file().set_permissions(meta.permissions())?;
        to.persist(target.join(name)).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file to be renamed into place: a reader sees the old or the new content, and never a mode too wide.
    fn written(
        &self,
        data: &[u8],
        mode: u32,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.0)?;
        io::Write::write_all(&mut file, data)?;
        if uid.is_some() || gid.is_some() {
            std::os::unix::fs::fchown(file.as_file(), uid, gid)?;
        }
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(data: &str) -> Change {
        Change {
            data: Some(data.into()),
            ..Change::default()
        }
    }

    /// The autoscaler and an operator may make the same secret at once: one of them is told that it exists, whatever
    /// either saw before.
    #[test]
    fn a_secret_is_made_once() {
        let work = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_directory(work.path(), true).unwrap();
        secrets.create("a", &change("first")).unwrap();
        let error = secrets.create("a", &change("second")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let read = || fs::read_to_string(work.path().join(".secrets/a")).unwrap();
        assert_eq!(read(), "first");
        secrets.update("a", &change("third")).unwrap();
        assert_eq!(read(), "third");
    }

    /// A VM that boots while a secret is changed has the old or the new one, and its boot does not fail.
    #[test]
    fn a_copy_is_whole_at_every_moment() {
        let work = tempfile::tempdir().unwrap();
        let secrets = Secrets::in_directory(work.path(), true).unwrap();
        secrets.create("a", &change("first")).unwrap();
        let target = work.path().join("seed/secrets");
        secrets.copy_to(None, &target).unwrap();
        fs::write(target.join("old"), "x").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        secrets.copy_to(None, &target).unwrap();
                    }
                });
            }
            for _ in 0..2000 {
                assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "first");
            }
        });
        let left: Vec<_> = fs::read_dir(&target).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        let none = Vec::new();
        secrets.copy_to(Some(&none), &target).unwrap();
        assert!(!target.join("a").exists());
    }
}
