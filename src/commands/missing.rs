//! A cluster.toml that is not there: people run commands from any directory, and `init` in the wrong one begins a second cluster.

use std::path::{Path, PathBuf};

use super::context::StateDir;
use crate::config::Problem;
use crate::failure::{Code, Failure, Failures};
use crate::state;

/// A cluster of this workstation, and where its cluster.toml was when it was last used.
pub(super) type Known = (String, Option<PathBuf>);

/// What is wrong with the file; of one that does not exist, where it may be.
pub(super) fn or_wrong(file: &Path, problems: Vec<Problem>) -> Failures {
    let gone = fs_err::symlink_metadata(file)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if gone {
        return vec![failure(file, &clusters())];
    }
    problems.into_iter().map(Failure::from).collect()
}

/// The clusters of this workstation.
pub(super) fn clusters() -> Vec<Known> {
    let names = state::clusters().into_iter();
    names
        .map(|name| {
            let place = StateDir::of(&name)
                .ok()
                .and_then(|home| home.config_place());
            (name, place)
        })
        .collect()
}

/// The failure: names every cluster that is known, and proposes `init` only where there is none.
fn failure(file: &Path, clusters: &[Known]) -> Failure {
    let here = std::env::current_dir().unwrap_or_default();
    let bare = file.components().count() == 1;
    let failure = Failure::new(
        Code::Config,
        if bare {
            format!("there is no {} in {}", file.display(), here.display())
        } else {
            format!("{} does not exist", file.display())
        },
    );
    if clusters.is_empty() {
        return failure.hint(
            "slicer-k3s init asks for what it needs and writes the file; one that is elsewhere is named by --config or SLICER_K3S_CONFIG",
        );
    }
    let there: Vec<&PathBuf> = clusters
        .iter()
        .filter_map(|(_, place)| place.as_ref())
        .filter(|place| place.is_file())
        .collect();
    let hint = match there.as_slice() {
        [only] => format!("pass --config {0}, or set SLICER_K3S_CONFIG={0}", only.display()),
        _ => "pass --config FILE, or set SLICER_K3S_CONFIG; if the file is lost, slicer-k3s import writes it again".to_owned(),
    };
    failure.because(told(clusters)).hint(hint)
}

/// The clusters in one sentence.
pub(super) fn told(clusters: &[Known]) -> String {
    let each = clusters.iter().map(|(name, place)| match place {
        Some(place) if place.is_file() => {
            format!("cluster {name} was last used with {}", place.display())
        }
        Some(place) => format!(
            "cluster {name} was last used with {}, which is gone",
            place.display()
        ),
        None => format!("cluster {name} is known here, and not where its file is"),
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `init`, which was proposed for it, would have begun a second cluster beside the one that runs.
    #[test]
    fn a_missing_file_is_reported_with_where_the_clusters_of_this_workstation_have_theirs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.toml");
        fs_err::write(&file, "").unwrap();
        let none = failure(Path::new("cluster.toml"), &[]);
        assert!(none.hint.unwrap().starts_with("slicer-k3s init"));
        assert!(none.what.starts_with("there is no cluster.toml in /"));

        let one = failure(
            Path::new("/x/y.toml"),
            &[("home".into(), Some(file.clone()))],
        );
        assert_eq!(one.what, "/x/y.toml does not exist");
        let cause = one.cause.unwrap();
        assert!(cause.contains("home") && cause.contains(file.to_str().unwrap()));
        let hint = one.hint.unwrap();
        assert!(
            hint.contains(&format!("--config {}", file.display())),
            "{hint}"
        );
        assert!(hint.contains("SLICER_K3S_CONFIG=") && !hint.contains("init"));

        let gone = directory.path().join("gone.toml");
        let known = [("a".into(), Some(gone)), ("b".into(), None)];
        let lost = failure(Path::new("cluster.toml"), &known);
        assert!(lost.cause.unwrap().contains("which is gone"));
        let hint = lost.hint.unwrap();
        assert!(
            hint.contains("slicer-k3s import") && !hint.contains("init"),
            "{hint}"
        );
    }

    #[test]
    fn a_file_that_is_there_keeps_its_mistakes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.toml");
        fs_err::write(&file, "nonsense").unwrap();
        let problems = crate::config::load(&file).unwrap_err();
        let failures = or_wrong(&file, problems);
        assert!(
            failures[0].what.contains("not TOML"),
            "{}",
            failures[0].what
        );
    }
}
