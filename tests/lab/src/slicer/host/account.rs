//! Who called: the person behind sudo, and where their home is.

use std::path::PathBuf;

/// The home directories to search, most specific first.
pub(crate) fn homes() -> Vec<PathBuf> {
    let mut homes = Vec::new();
    if let Some(home) = std::env::var("SUDO_USER")
        .ok()
        .and_then(|user| home_of(&user))
    {
        homes.push(home);
    }
    if let Some(home) = std::env::var_os("HOME") {
        homes.push(home.into());
    }
    homes.push("/root".into());
    homes.dedup();
    homes
}

/// A user's home directory, from the password file.
fn home_of(user: &str) -> Option<PathBuf> {
    field_of("/etc/passwd", user, 5).map(PathBuf::from)
}

/// A group's number, from the group file.
pub(crate) fn group_id(name: &str) -> Option<u32> {
    field_of("/etc/group", name, 2)?.parse().ok()
}

fn field_of(file: &str, name: &str, index: usize) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| fields.get(index).map(|&field| field.to_owned()))
}

/// Expands a leading `~/` to the caller's home.
pub(crate) fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path.into(),
    }
}
