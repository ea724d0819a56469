//! One run at a time on this workstation. (The lock on the control-plane host is another matter.)

use std::fs::TryLockError;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::private_directory;
use crate::failure::{Code, Failure, Result};
use crate::time::unix_time;

/// Held until dropped; the kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub struct Lock {
    _file: std::fs::File,
    directory: PathBuf,
}

impl Lock {
    /// Takes the lock of a state directory for `command`, or says who has it.
    pub fn take(directory: &Path, command: &str) -> Result<Self> {
        let path = directory.join("lock");
        let broken = |error: std::io::Error| {
            Failure::new(Code::LocalFile, format!("cannot use {}", path.display()))
                .because(error)
                .hint(format!("ls -ld {}", directory.display()))
        };
        private_directory(directory).map_err(broken)?;
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(broken)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Only for the message: a holder that cannot be read is still a holder.
                let _ = file.take(200).read_to_string(&mut holder);
                return Err(held(&path, &holder));
            }
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
        file.set_len(0).map_err(broken)?;
        file.rewind().map_err(broken)?;
        write!(file, "{} {} {command}", std::process::id(), unix_time()).map_err(broken)?;
        Ok(Self {
            _file: file,
            directory: directory.to_owned(),
        })
    }

    /// The state directory that it is the lock of.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn held(path: &Path, holder: &str) -> Failure {
    let mut words = holder.splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (process, since) = (number(), number());
    let command = words.next();
    let failure = Failure::new(Code::Locked, "another slicer-k3s works on this cluster");
    match (process, since, command) {
        (Some(process), Some(since), Some(command)) => failure
            .because(format!(
                "slicer-k3s {command} has been running here for {} s (process {process})",
                unix_time().saturating_sub(since)
            ))
            .hint(format!("wait for it, or look at it: ps -fp {process}")),
        _ => failure
            .because(format!("it holds {}", path.display()))
            .hint(format!("fuser -v {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_has_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path(), "init").unwrap();
        let failure = Lock::take(dir.path(), "destroy").unwrap_err();
        assert_eq!(failure.code, Code::Locked);
        let cause = failure.cause.unwrap();
        assert!(cause.contains(&std::process::id().to_string()), "{cause}");
        assert!(cause.starts_with("slicer-k3s init has been"), "{cause}");
        drop(first);
        // A test beside this one may just be starting a program, which holds every file until it has begun.
        let again = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            Lock::take(dir.path(), "init").is_ok()
        });
        assert!(again);
    }
}
