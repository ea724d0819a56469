//! What an import writes on this workstation: nothing that was there is lost.

use std::io::ErrorKind;
use std::path::Path;

use crate::commands::context::StateDir;
use crate::commands::first_contact;
use crate::failure::{Code, Failure, Result};
use crate::files;
use crate::import::ClusterFile;
use crate::plan::Plan;
use crate::report::say;
use crate::state::State;

/// What the copies of replaced files end with, the second one and later ones with a number behind it.
const COPY: &str = "before-import";

/// Writes cluster.toml; one that says something else stays unless it was given up.
pub(super) fn cluster_file(path: &Path, file: &ClusterFile, force: bool) -> Result<()> {
    let text = &file.text;
    match fs_err::read_to_string(path) {
        Err(_) => first_contact::write(path, text, file.private),
        Ok(there) if there == *text && file.private && files::is_open(path) => {
            files::replace_private(path, text.as_bytes())
        }
        Ok(there) if there == *text => Ok(()),
        Ok(there) if force => {
            files::keep_copy(path, COPY, there.as_bytes())?;
            if file.private {
                files::replace_private(path, text.as_bytes())
            } else {
                files::replace(path, text.as_bytes())
            }
        }
        Ok(_) => Err(here_already(path)),
    }
}

/// Refuses, before anything is asked or written, what [`cluster_file`] would refuse.
pub(super) fn may_write(path: &Path, file: &ClusterFile, force: bool) -> Result<()> {
    match fs_err::read_to_string(path) {
        Ok(there) if there != file.text && !force => Err(here_already(path)),
        _ => Ok(()),
    }
}

fn here_already(path: &Path) -> Failure {
    Failure::new(
        Code::LocalFile,
        format!("{} is here already", path.display()),
    )
    .because("what the hosts tell differs from it")
    .hint("slicer-k3s import without hosts goes by it; --force replaces it, and keeps a copy")
}

/// Writes the state and the plan; `until`: see [`replace`].
pub(super) fn state(home: &StateDir, state: &mut State, plan: &Plan, until: u64) -> Result<()> {
    replace(home.path(), &home.state_file(), state, until)?;
    home.keep_plan(plan)
}

/// Writes the state. One that it replaces is copied, and leaves it the server tokens of before; `until` is when the last of
/// them was replaced, in seconds since 1970.
fn replace(directory: &Path, file: &Path, state: &mut State, until: u64) -> Result<()> {
    match fs_err::read(file) {
        Ok(old) => drop(files::keep_copy(file, COPY, &old)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(
                Failure::new(Code::LocalFile, format!("cannot read {}", file.display()))
                    .because(error)
                    .hint(format!("ls -l {}", file.display())),
            );
        }
    }
    match State::open(directory) {
        Ok(Some(old)) => state.inherit(&old, until),
        Ok(None) => {}
        // It was given up by --force.
        Err(failure) => say(&format!(
            "The state that was here cannot be read ({failure}): server tokens of before, which older snapshots need, are \
             in its copy only."
        )),
    }
    state.save(directory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The other person rotates twice, and this one imports after each: every token can still be had here.
    #[test]
    fn the_state_that_is_replaced_leaves_its_tokens_and_a_copy() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("state.json");
        let mut tokens = Vec::new();
        for until in [1, 2, 3] {
            let mut state = State::create("home").unwrap();
            replace(root.path(), &file, &mut state, until).unwrap();
            let saved = State::open(root.path()).unwrap().unwrap();
            let former = saved.secrets.former.iter();
            let former: Vec<_> = former.map(|former| former.token.clone()).collect();
            assert_eq!(former, tokens);
            tokens.push(state.secrets.server_token);
        }
        for name in ["state.json.before-import", "state.json.before-import.2"] {
            let facts = fs_err::metadata(root.path().join(name)).unwrap();
            assert_eq!(facts.permissions().mode() & 0o777, 0o600, "{name}");
        }
        // One that cannot be read was given up; it is kept all the same.
        fs_err::write(&file, "{").unwrap();
        replace(root.path(), &file, &mut State::create("home").unwrap(), 4).unwrap();
        let copy = root.path().join("state.json.before-import.3");
        assert_eq!(fs_err::read_to_string(copy).unwrap(), "{");
    }

    /// Registries and proxies bring their passwords with them.
    #[test]
    fn a_cluster_toml_with_passwords_is_its_owners_alone() {
        let root = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let facts = fs_err::metadata(root.path().join(name)).unwrap();
            facts.permissions().mode() & 0o777
        };
        let file = |text: &str, private| ClusterFile {
            text: text.into(),
            private,
            ..ClusterFile::default()
        };
        let path = root.path().join("new.toml");
        cluster_file(&path, &file("a", true), false).unwrap();
        assert_eq!(mode("new.toml"), 0o600);
        let path = root.path().join("open.toml");
        cluster_file(&path, &file("a", false), false).unwrap();
        assert_eq!(mode("open.toml"), 0o644);
        // An earlier import wrote it for all to read.
        cluster_file(&path, &file("a", true), false).unwrap();
        assert_eq!(mode("open.toml"), 0o600);
        assert!(cluster_file(&path, &file("b", true), false).is_err());
        cluster_file(&path, &file("b", true), true).unwrap();
        cluster_file(&path, &file("c", true), true).unwrap();
        for name in [
            "open.toml",
            "open.toml.before-import",
            "open.toml.before-import.2",
        ] {
            assert_eq!(mode(name), 0o600, "{name}");
        }
    }
}
