//! cluster.toml as the last run read it, kept in the state directory: what some commands go by while the file is wrong. Private,
//! for a cluster.toml may hold passwords; versioned, as every file that is kept. It also has the place of that file, for people who
//! are in another directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{self, Config};
use crate::failure::{Code, Failure, Result};
use crate::files;

/// The version that is written.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    text: String,
    /// The file's absolute path; earlier releases did not keep it, and pass it over.
    #[serde(default)]
    file: Option<String>,
}

fn kept(path: &Path) -> Option<Kept> {
    let kept: Kept = serde_json::from_str(&fs_err::read_to_string(path).ok()?).ok()?;
    (kept.version == VERSION).then_some(kept)
}

/// Where the file was that was kept last.
pub(super) fn place(path: &Path) -> Option<PathBuf> {
    kept(path)?.file.map(PathBuf::from)
}

/// What was kept; `None` where there is nothing that this program can read. It stands in for a file that is wrong, so that
/// what is wrong with it itself is no one's matter.
pub(super) fn read(path: &Path) -> Option<Config> {
    config::parse(&kept(path)?.text, &path.display().to_string()).ok()
}

/// Keeps the text of `file`, as long as it still says what the run goes by: someone may have edited it since.
pub(super) fn keep(path: &Path, file: &Path, config: &Config) -> Result<()> {
    let Ok(text) = fs_err::read_to_string(file) else {
        return Ok(());
    };
    let same = config::parse(&text, "").is_ok_and(|read| read == *config);
    let here = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let known = read(path).as_ref() == Some(config) && place(path).as_ref() == Some(&here);
    if !same || known {
        return Ok(());
    }
    let kept = Kept {
        version: VERSION,
        text,
        file: here.to_str().map(str::to_owned),
    };
    let text = serde_json::to_vec_pretty(&kept).map_err(|error| {
        Failure::new(Code::LocalFile, format!("cannot write {}", path.display())).because(error)
    })?;
    files::write_private(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::stored;

    const TEXT: &str = "name = \"home\"\n[hosts.n100]\nssh = \"alex@192.168.1.11\"\n";

    #[test]
    fn what_was_kept_is_read_again_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (kept, file) = (
            directory.path().join("config.json"),
            directory.path().join("cluster.toml"),
        );
        fs_err::write(&file, TEXT).unwrap();
        let config = config::load(&file).unwrap();
        assert_eq!(read(&kept), None);
        keep(&kept, &file, &config).unwrap();
        assert_eq!(read(&kept), Some(config.clone()));
        let mode = fs_err::metadata(&kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Edited since it was read: no one has seen it work.
        fs_err::write(&file, TEXT.replace("alex", "mary")).unwrap();
        keep(&kept, &file, &config).unwrap();
        fs_err::write(&file, "name = ").unwrap();
        keep(&kept, &file, &config).unwrap();
        assert_eq!(read(&kept), Some(config));
    }

    #[test]
    fn the_place_of_the_file_is_kept_and_may_be_missing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs_err::write(at("cluster.toml"), TEXT).unwrap();
        let config = config::load(&at("cluster.toml")).unwrap();
        // As an earlier release wrote it.
        let old = serde_json::json!({"version": 1, "text": TEXT}).to_string();
        fs_err::write(at("config.json"), old).unwrap();
        assert_eq!(place(&at("config.json")), None);
        assert_eq!(read(&at("config.json")), Some(config.clone()));
        keep(&at("config.json"), &at("cluster.toml"), &config).unwrap();
        assert_eq!(place(&at("config.json")), Some(at("cluster.toml")));
        // Moved.
        fs_err::rename(at("cluster.toml"), at("other.toml")).unwrap();
        keep(&at("config.json"), &at("other.toml"), &config).unwrap();
        assert_eq!(place(&at("config.json")), Some(at("other.toml")));
    }

    #[test]
    fn a_newer_or_damaged_copy_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let newer = serde_json::json!({"version": 2, "text": TEXT}).to_string();
        for text in ["", "{}", &newer, r#"{"version": 1, "text": "name"}"#] {
            fs_err::write(&path, text).unwrap();
            assert_eq!(read(&path), None, "{text}");
        }
    }

    #[test]
    fn copies_that_releases_wrote_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs_err::write(&path, stored(&format!("config-v{VERSION}.json"))).unwrap();
        assert_eq!(read(&path).unwrap().hosts.len(), 3);
        assert_eq!(place(&path), Some("/home/me/cluster.toml".into()));
    }
}
