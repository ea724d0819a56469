//! What the program writes before it knows better, and what it says where a file is missing: the built program, in a home of its own.

#![expect(
    clippy::unwrap_used,
    reason = "what a test sets up must work, or the test fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A home with nothing in it, and a directory to work in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for directory in ["home", "work", "state"] {
            fs::create_dir(place.at(directory)).unwrap();
        }
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Runs it in `directory` without a terminal.
    fn run(&self, directory: &str, words: &str) -> Output {
        self.command(directory, words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn command(&self, directory: &str, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slicer-k3s"));
        command
            .args(words.split(' '))
            .current_dir(self.at(directory))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.at("home"))
            .env("USER", "alex")
            .env("XDG_STATE_HOME", self.at("state"));
        command
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const FILE: &str = "name = \"home\"\n[hosts.n100]\nssh = \"alex@192.168.1.11\"\n";

/// In another directory `status` proposed `init`, which would have begun a second cluster.
#[test]
fn a_command_without_cluster_toml_says_where_it_was_last_used() {
    let place = Place::new();
    let first = place.run("work", "status");
    assert_eq!(first.status.code(), Some(2));
    assert!(said(&first).contains("slicer-k3s init"), "{}", said(&first));

    // A cluster of this workstation, by the files of a run.
    fs::create_dir(place.at("mine")).unwrap();
    let file = place.at("mine/cluster.toml");
    fs::write(&file, FILE).unwrap();
    let made = place.run("mine", "generate");
    assert!(made.status.success(), "{}", said(&made));
    let kept = serde_json::json!({"version": 1, "text": FILE, "file": file});
    let state = place.at("state/slicer-k3s/home");
    fs::write(state.join("config.json"), kept.to_string()).unwrap();

    for command in ["status", "token", "kubectl get nodes"] {
        let there = place.run("work", command);
        let text = said(&there);
        let code = if command.starts_with("kubectl") {
            125
        } else {
            2
        };
        assert_eq!(there.status.code(), Some(code), "{text}");
        assert!(text.contains("cluster home was last used with"), "{text}");
        let hint = format!("--config {}", file.display());
        assert!(
            text.contains(&hint) && text.contains("SLICER_K3S_CONFIG"),
            "{text}"
        );
        assert!(!text.contains("slicer-k3s init"), "{text}");
    }
}

/// A typo in CI was two failures: the second for the file that the first had left.
#[test]
fn flags_of_a_first_run_that_failed_are_not_kept() {
    let place = Place::new();
    for (words, port) in [
        ("init --yes --name home --host a=alex@127.0.0.1:1", 1),
        ("init --yes --name work --host b=alex@127.0.0.1:2", 2),
        ("init --dry-run --name work --host b=alex@127.0.0.1:3", 3),
    ] {
        let run = place.run("work", words);
        let text = said(&run);
        assert_eq!(run.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
        assert!(names(&place.at("work")).is_empty(), "{text}");
        // What to do is no line of a file that is not there.
        let hints = text.lines().filter(|line| line.contains("hint:"));
        for hint in hints {
            assert!(
                !hint.contains("cluster.toml") && !hint.contains("[hosts."),
                "{hint}"
            );
        }
    }
    let dry = Place::new();
    dry.run(
        "work",
        "init --dry-run --name home --host a=alex@127.0.0.1:1",
    );
    assert!(names(&dry.at("state")).is_empty() && names(&dry.at("home")).is_empty());
}

#[test]
fn what_cannot_be_written_is_no_success() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let place = Place::new();
    let mut command = place.command("work", "explain slicer-token");
    let run = command.stdin(Stdio::null()).stdout(full).output().unwrap();
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("No space left"), "{}", said(&run));
}
