//! Decisions and secrets on disk: 0600, atomic, versioned. Never progress.

mod lock;
mod secrets;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use lock::Lock;
pub use secrets::{Former, Retired, RotationPhase, Secrets};

use crate::failure::{Code, Failure, Result};
use crate::plan::Decisions;

/// The version of the file that this program writes; it reads every earlier one. Version 1 had no record of what was
/// founded, version 2 none of the runs, version 3 not how far a rotation has come, and a program that knows no other must not
/// drop them.
const VERSION: u32 = 4;

/// Most runs that are remembered.
const RUNS: usize = 100;

/// The file's name in the cluster's state directory.
const FILE: &str = "state.json";

/// What a cluster must never forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// [`VERSION`] when it was written.
    pub version: u32,
    /// The cluster's name.
    pub cluster: String,
    /// Tells two clusters of one name apart.
    pub id: String,
    /// Every decision that later runs must repeat.
    #[serde(default)]
    pub decisions: Decisions,
    /// Ids of runs that this workstation made, or whose outcome it has taken over, the latest last.
    #[serde(default)]
    pub runs: Vec<String>,
    /// What version 2 had in their place.
    #[serde(default, skip_serializing)]
    pub known: Vec<String>,
    /// Tokens and keys.
    pub secrets: Secrets,
}

/// Only the version: read first, because other versions' fields are not ours to know.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl State {
    /// Where the state of cluster `name` lives: below `$XDG_STATE_HOME`, else `~/.local/state`.
    pub fn directory(name: &str) -> Result<PathBuf> {
        let absolute = |key: &str| {
            let path = std::env::var_os(key).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let base = absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .ok_or_else(|| {
                Failure::new(
                    Code::LocalFile,
                    "cannot tell where to keep the cluster's state",
                )
                .because("neither XDG_STATE_HOME nor HOME is set")
                .hint("export XDG_STATE_HOME=/some/directory")
            })?;
        Ok(base.join("slicer-k3s").join(name))
    }

    /// A new cluster's state, with fresh secrets; nothing is written yet.
    pub fn create(cluster: &str) -> Result<Self> {
        let id = crate::secret::random_hex(8).map_err(no_randomness)?;
        Ok(Self {
            version: VERSION,
            cluster: cluster.to_owned(),
            id,
            decisions: Decisions::default(),
            runs: Vec::new(),
            known: Vec::new(),
            secrets: Secrets::generate(cluster)?,
        })
    }

    /// Remembers a run.
    pub fn remember(&mut self, run: &str) {
        self.runs.retain(|known| known != run);
        self.runs.push(run.to_owned());
        let surplus = self.runs.len().saturating_sub(RUNS);
        self.runs.drain(..surplus);
    }

    /// Keeps what a state that this one replaces knows and no host shows: the server tokens of before, where it is of the same
    /// cluster. One that may be is taken for it. `until`: see [`Secrets::inherit`].
    pub fn inherit(&mut self, replaced: &Self, until: u64) {
        let ca = |state: &Self| {
            state
                .decisions
                .founded
                .as_ref()
                .map(|founded| founded.ca.clone())
        };
        let another = matches!((ca(self), ca(replaced)), (Some(a), Some(b)) if a != b);
        if !another {
            self.secrets.inherit(&replaced.secrets, until);
        }
    }

    /// The state in a directory, or `None` where there is none. A file that cannot be read is a failure:
    /// its secrets are worth more than a fresh start.
    pub fn open(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let broken = |cause: String| {
            Failure::new(Code::LocalFile, format!("cannot read {}", path.display()))
                .because(cause)
                .hint("it holds the cluster's only tokens: restore it from a backup, do not delete it")
        };
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(error.to_string())),
        };
        // serde_json's messages may quote values, and values here are secrets: only the place is told.
        let damaged = |error: serde_json::Error| {
            broken(format!(
                "it is damaged at line {}, column {}",
                error.line(),
                error.column()
            ))
        };
        let header: Header = serde_json::from_str(&text).map_err(damaged)?;
        if header.version == 0 || header.version > VERSION {
            return Err(Failure::new(
                Code::LocalFile,
                format!(
                    "{} has version {}, this program knows {VERSION}",
                    path.display(),
                    header.version
                ),
            )
            .because("a newer release of slicer-k3s wrote it")
            .hint("use that release, or a newer one"));
        }
        let state: Self = serde_json::from_str(&text).map_err(damaged)?;
        Ok(Some(Self {
            version: VERSION,
            ..state
        }))
    }

    /// Records that the rotation of join tokens in this directory's state has come to `phase`; never back.
    pub fn advance(directory: &Path, phase: RotationPhase) -> Result<()> {
        let Some(mut state) = Self::open(directory)? else {
            return Err(Failure::new(
                Code::LocalFile,
                format!("the state in {} is gone", directory.display()),
            )
            .hint("restore it from a backup: it holds the cluster's tokens"));
        };
        if state.secrets.retired.phase >= phase {
            return Ok(());
        }
        state.secrets.retired.phase = phase;
        state.save(directory)
    }

    /// Writes the state: whole or not at all, readable by its owner only from its first byte on.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let failed = |cause: String| {
            Failure::new(Code::LocalFile, format!("cannot write {}", path.display()))
                .because(cause)
                .hint(format!("df -h {0}; ls -ld {0}", directory.display()))
        };
        private_directory(directory).map_err(|error| failed(error.to_string()))?;
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|error| failed(error.to_string()))?;
        text.push(b'\n');
        crate::files::write_private(&path, &text)
            .map_err(|error| failed(error.cause.unwrap_or_default()))
    }
}

/// CA hashes of the clusters of this name that were destroyed from here: what still carries one is not obeyed.
pub fn destroyed(name: &str) -> Result<BTreeSet<String>> {
    let states = archived(name)?.into_iter();
    Ok(states
        .flat_map(|state| {
            let decisions = state.decisions;
            decisions
                .given_up
                .into_iter()
                .chain(decisions.founded.map(|founded| founded.ca))
        })
        .collect())
}

/// The states of the clusters of this name that were destroyed from here. One that cannot be read tells nothing, and then its
/// marks stand in the way by name.
pub fn archived(name: &str) -> Result<Vec<State>> {
    let place = archive(&State::directory(name)?);
    let entries = match fs_err::read_dir(&place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(
                Failure::new(Code::LocalFile, format!("cannot read {}", place.display()))
                    .because(error),
            );
        }
    };
    let prefix = format!("{name}-");
    let ours = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    Ok(ours
        .filter_map(|entry| State::open(&entry.path()).ok().flatten())
        .filter(|state| state.cluster == name)
        .collect())
}

/// The names of the clusters that have a state on this workstation, in order; what cannot be read counts as none.
pub fn clusters() -> Vec<String> {
    let Ok(any) = State::directory("any") else {
        return Vec::new();
    };
    let entries = any.parent().and_then(|base| fs_err::read_dir(base).ok());
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join(FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Where the states of destroyed clusters are kept, beside the state of this one. No cluster's name begins with a dot.
pub fn archive(directory: &Path) -> PathBuf {
    directory.with_file_name(".destroyed")
}

/// Makes a directory that only its owner can enter, and closes one that others can.
fn private_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let facts = fs_err::metadata(directory)?;
    if facts.permissions().mode() & 0o077 != 0 {
        fs_err::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn no_randomness(error: std::io::Error) -> Failure {
    Failure::new(
        Code::LocalFile,
        "cannot make secrets: the system gives no random bytes",
    )
    .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::mode;
    use crate::testing::stored;

    #[test]
    fn what_was_saved_is_opened_again_and_nobody_else_can_read_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/home");
        assert_eq!(State::open(&dir).unwrap(), None);
        let state = State::create("home").unwrap();
        state.save(&dir).unwrap();
        state.save(&dir).unwrap();
        assert_eq!(State::open(&dir).unwrap(), Some(state));
        assert_eq!((mode(&dir), mode(&dir.join(FILE))), (0o700, 0o600));
        assert_eq!(fs_err::read_dir(&dir).unwrap().count(), 1, "no leftovers");
    }

    /// Of earlier releases.
    #[test]
    fn states_of_every_earlier_version_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::create("home").unwrap();
        let mut value = serde_json::to_value(&state).unwrap();
        value.as_object_mut().unwrap().remove("runs");
        for version in [1, 2, 3] {
            value["version"] = version.into();
            value["known"] = serde_json::json!(["abc"]);
            fs_err::write(dir.path().join(FILE), value.to_string()).unwrap();
            let read = State::open(dir.path()).unwrap().unwrap();
            assert_eq!(read.version, VERSION);
            assert_eq!(read.secrets, state.secrets);
            let text = serde_json::to_string(&read).unwrap();
            assert!(!text.contains("known"), "{text}");
        }
    }

    /// A step that is done again by a later run must not take back what an earlier one has noted.
    #[test]
    fn a_rotation_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::create("home").unwrap();
        state.secrets.renew(true).unwrap();
        state.save(dir.path()).unwrap();
        for phase in [
            RotationPhase::Begun,
            RotationPhase::Sealing,
            RotationPhase::Begun,
        ] {
            State::advance(dir.path(), phase).unwrap();
        }
        let read = State::open(dir.path()).unwrap().unwrap();
        assert_eq!(read.secrets.retired.phase, RotationPhase::Sealing);
    }

    #[test]
    fn former_tokens_of_another_cluster_of_the_name_are_not_inherited() {
        let founded = |ca: &str| {
            Some(crate::plan::Founded {
                ca: ca.into(),
                voters: BTreeSet::new(),
            })
        };
        let mut old = State::create("home").unwrap();
        for (before, now, inherits) in [
            (founded("a"), founded("a"), true),
            (None, founded("a"), true),
            (founded("b"), founded("a"), false),
        ] {
            old.decisions.founded = before;
            let mut state = State::create("home").unwrap();
            state.decisions.founded = now;
            state.inherit(&old, 1);
            assert_eq!(!state.secrets.former.is_empty(), inherits);
        }
    }

    #[test]
    fn an_open_directory_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        State::create("home").unwrap().save(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o700);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for (text, word) in [
            ("", "damaged"),
            ("{\"version\":1}", "damaged"),
            ("not json", "damaged"),
            ("{\"version\":5,\"more\":true}", "version 5"),
        ] {
            fs_err::write(&path, text).unwrap();
            let failure = State::open(dir.path()).unwrap_err();
            assert!(failure.to_string().contains(word), "{failure}");
            assert!(failure.to_string().contains("state.json"));
            assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn secrets_do_not_show_in_debug_output_or_errors() {
        let state = State::create("home").unwrap();
        let token = state.secrets.server_token.expose().to_owned();
        assert!(!format!("{state:?}").contains(&token));
        let dir = tempfile::tempdir().unwrap();
        // A token where something else is expected: the parser would like to quote it.
        let text = format!(r#"{{"version":1,"cluster":"home","id":"x","secrets":"{token}"}}"#);
        fs_err::write(dir.path().join(FILE), text).unwrap();
        let failure = State::open(dir.path()).unwrap_err();
        assert!(!format!("{failure:?}").contains(&token), "{failure}");
    }

    /// What a release wrote is read by every later one, and the present version as it is written.
    #[test]
    fn states_that_releases_wrote_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for version in 1..=VERSION {
            let text = stored(&format!("state-v{version}.json"));
            fs_err::write(dir.path().join(FILE), &text).unwrap();
            let read = State::open(dir.path()).unwrap().unwrap();
            assert_eq!(read.secrets.server_token.expose(), "1".repeat(64));
            assert_eq!(read.decisions.servers.len(), 3);
            if version == VERSION {
                let written: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), written);
            }
        }
    }
}
