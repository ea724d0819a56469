//! What older inputs made goes: of each kind the two that were used last stay, and whatever a running fleet is made of.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::parts::Parts;
use crate::place::Place;
use crate::say;
use crate::state::State;

/// So many of a kind stay: this tree's, and that of the branch beside it.
const KEPT: usize = 2;

/// Whatever was used since then stays, too: a fleet that is just coming up is not listed yet.
const RECENT: Duration = Duration::from_hours(1);

/// Notes that an entry is used now.
pub(super) fn used(entry: &Path) {
    // Only an order of age is lost where it cannot be written, as by a caller who is not root.
    if let Ok(directory) = File::open(entry) {
        let _ = directory.set_modified(SystemTime::now());
    }
}

/// Removes what nobody needs from every shelf.
pub(crate) fn shelves(place: &Place) -> Result<()> {
    let fleets = State::all()?;
    // A fleet that does not tell what it is made of was started by an older lab.
    let Some(needed) = fleets
        .iter()
        .map(|fleet| fleet.parts.clone())
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(());
    };
    let needed: BTreeSet<PathBuf> = needed.into_iter().flatten().collect();
    for kind in ["debian", "root", "go", "images"] {
        let shelf = place.cache.join(kind);
        let Ok(lock) = File::open(shelf.join(".lock")) else {
            continue;
        };
        // Whoever builds there prunes later.
        if lock.try_lock().is_err() {
            continue;
        }
        for entry in superfluous(&shelf, &needed, SystemTime::now())? {
            say::line(format_args!(
                "· removing {}: older inputs made it",
                entry.display()
            ));
            std::fs::remove_dir_all(&entry)?;
        }
    }
    Ok(())
}

impl Parts {
    /// The cache's entries that a fleet of these parts is made of.
    pub(crate) fn entries(&self) -> Vec<PathBuf> {
        [&self.programs.go, &self.images]
            .into_iter()
            .flatten()
            .chain([&self.root])
            .cloned()
            .collect()
    }
}

fn superfluous(shelf: &Path, needed: &BTreeSet<PathBuf>, now: SystemTime) -> Result<Vec<PathBuf>> {
    let (mut entries, mut gone) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(shelf)? {
        let entry = entry?;
        let (path, meta) = (entry.path(), entry.metadata()?);
        if !meta.is_dir() {
            continue;
        }
        let draft = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if draft {
            // With the shelf locked nobody builds: it is what a killed build left.
            gone.push(path);
        } else {
            entries.push((meta.modified()?, path));
        }
    }
    entries.sort();
    let older = entries.into_iter().rev().skip(KEPT);
    gone.extend(
        older
            .filter(|(time, path)| {
                let age = now.duration_since(*time).unwrap_or_default();
                age > RECENT && !needed.contains(path)
            })
            .map(|(_, path)| path),
    );
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A running fleet's root must never go, nor this tree's or its neighbour's.
    #[test]
    fn the_two_newest_and_what_runs_stay() {
        let shelf = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for (name, hours) in [("a", 9), ("b", 8), ("c", 7), ("d", 6), (".e.draft", 0)] {
            let path = shelf.path().join(name);
            std::fs::create_dir(&path).unwrap();
            let time = now - Duration::from_hours(hours);
            File::open(&path).unwrap().set_modified(time).unwrap();
        }
        std::fs::write(shelf.path().join(".lock"), "").unwrap();
        let gone = |needed: &[&str], now| {
            let needed = needed.iter().map(|name| shelf.path().join(name)).collect();
            let gone = superfluous(shelf.path(), &needed, now).unwrap();
            let mut names: Vec<String> = gone
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(gone(&[], now), [".e.draft", "a", "b"]);
        assert_eq!(gone(&["a"], now), [".e.draft", "b"]);
        // All of them were in use a moment ago.
        assert_eq!(gone(&[], now - Duration::from_mins(450)), [".e.draft", "a"]);
        used(&shelf.path().join("a"));
        assert_eq!(gone(&[], now), [".e.draft", "b", "c"]);
    }
}
