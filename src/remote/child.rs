//! Programs that this one starts on the workstation.

use std::ffi::{OsStr, OsString};

use tokio::process::Command;

use super::sudo::VARIABLE;

/// A program to start, without the passwords for sudo that this process may have in its environment: others can read a
/// child's, and a plugin's of kubectl.
pub(crate) fn child(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    withhold(&mut command, std::env::vars_os().map(|(name, _)| name));
    command
}

fn withhold(command: &mut Command, names: impl Iterator<Item = OsString>) {
    for name in names {
        if name.to_string_lossy().starts_with(VARIABLE) {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_child_inherits_a_password() {
        let mut command = Command::new("true");
        let names = [VARIABLE, "SLICER_K3S_SUDO_PASSWORD_PI_5", "PATH"];
        withhold(&mut command, names.map(OsString::from).into_iter());
        let withheld: Vec<_> = command
            .as_std()
            .get_envs()
            .map(|(name, value)| (name.to_owned(), value.is_none()))
            .collect();
        assert_eq!(withheld.len(), 2);
        assert!(
            withheld
                .iter()
                .all(|(name, removed)| *removed && name != "PATH")
        );
    }
}
