//! That every removal goes by a rule of this module.

use std::path::{Path, PathBuf};

/// What a removal looks like in the sources.
const REMOVALS: [&str; 9] = [
    "rm -f",
    "rm -rf",
    "\"rm\"",
    "ip link delete",
    "remove_file(",
    "remove_dir",
    ".delete_vm(",
    "kubernetes.delete(",
    ".delete(permit",
];

/// Files with removals that need no rule, and why.
const EXCEPTIONS: [(&str, &str); 6] = [
    ("remote/put.rs", "a temporary file of the same script"),
    ("slicer/server.rs", "a temporary file of the same script"),
    (
        "commands/kubectl.rs",
        "temporary files of its own that no process holds any more",
    ),
    ("slicer/worker.rs", "temporary files of the same script"),
    (
        "steps/host/slicer_installed.rs",
        "a temporary directory and a mark of the same script",
    ),
    (
        "k3s/drop_in.rs",
        "k3s writes its password file again at each start",
    ),
];

fn sources(place: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// Whether a file removes something, its tests and comments aside.
fn removes(text: &str) -> bool {
    let code = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let mut lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.any(|line| REMOVALS.iter().any(|words| line.contains(words)))
}

#[test]
fn every_removal_goes_by_a_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut excepted = Vec::new();
    let mut removing = 0;
    for file in files {
        let name = file
            .strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
        let text = fs_err::read_to_string(&file).unwrap();
        if is_test || name.starts_with("deletion/") || !removes(&text) {
            continue;
        }
        removing += 1;
        if EXCEPTIONS.iter().any(|(file, _)| *file == name) {
            excepted.push(name);
            continue;
        }
        assert!(
            text.contains("crate::deletion") || text.contains("deletion::"),
            "{name} removes something and asks no rule of crate::deletion"
        );
    }
    assert!(removing > 15, "only {removing} files were found to remove");
    assert_eq!(
        excepted.len(),
        EXCEPTIONS.len(),
        "an exception that is none: {excepted:?}"
    );
}
