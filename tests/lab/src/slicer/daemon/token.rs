//! The API token: made once, shared by every daemon of a host.

use std::{fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};

use crate::host::{Places, account, variant::Variant};

/// Reads the host's token, or makes it (`root:slicer`, 0640).
pub(crate) fn obtain(places: &Places, variant: &Variant) -> Result<String> {
    let path = places.token();
    if !variant.is("token", "per-start")
        && let Ok(text) = fs::read_to_string(&path)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_owned());
    }
    let token = random(32)?;
    let directory = path.parent().unwrap_or(&path);
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    write(&path, directory, &token).with_context(|| format!("write {}", path.display()))?;
    Ok(token)
}

/// Renamed into place, so that no reader ever sees half a token or a mode too wide.
fn write(path: &Path, directory: &Path, token: &str) -> Result<()> {
    let group = account::group_id("slicer");
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut file, token.as_bytes())?;
    if group.is_some() {
        std::os::unix::fs::fchown(file.as_file(), None, group)?;
    }
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o640))?;
    file.persist(path)?;
    Ok(())
}

/// This many random bytes, in hexadecimal.
pub(crate) fn random(bytes: usize) -> Result<String> {
    use std::fmt::Write as _;
    let mut buffer = vec![0_u8; bytes];
    fs::File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    Ok(buffer.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients keep the token: a restart must not change it, except where the variant says so.
    #[test]
    fn the_token_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::under(dir.path());
        let first = obtain(&places, &Variant::default()).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(obtain(&places, &Variant::default()).unwrap(), first);
        let mode = fs::metadata(places.token()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_ne!(
            obtain(&places, &Variant::one("token", "per-start")).unwrap(),
            first
        );
    }
}
