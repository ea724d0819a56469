//! Every command that a hint, a page or a template names is there: a hint that cannot be followed is worse than none.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use crate::cli::Cli;

const NAME: &str = "slicer-k3s ";

/// Words after which the program's name is a command's beginning, and not the subject of a sentence.
const BEFORE: [&str; 7] = ["or", "run", "then", "and", "with", "first", "by"];

/// What follows the name in sentences that look like commands.
const PROSE: [&str; 2] = ["there", "for"];

/// The text files of a directory.
fn files(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_dir() {
        for entry in fs_err::read_dir(place).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if place.extension().is_some_and(|kind| {
        ["rs", "md", "sh", "service", "snap"].contains(&&*kind.to_string_lossy())
    }) {
        found.push(place.to_owned());
    }
}

/// The subcommands that a line names.
fn named(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(NAME) {
        let before = &line[..at];
        let opens = |c: char| "`\"'(:;>→$|{}".contains(c);
        let command = before.ends_with("    ")
            || before.ends_with("\\x20 ")
            || before.trim_end().ends_with(opens)
            || before
                .split_whitespace()
                .next_back()
                .is_some_and(|word| BEFORE.contains(&word.trim_start_matches(opens)));
        let word: String = line[at + NAME.len()..]
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '-' || c.is_ascii_digit())
            .collect();
        let word = word.trim_end_matches('-').to_owned();
        if command && !word.is_empty() && !PROSE.contains(&&*word) {
            found.push(word);
        }
    }
    found
}

#[test]
fn every_command_that_is_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = Vec::new();
    for place in ["src", "docs", "templates", "README.md", "install.sh"] {
        files(&root.join(place), &mut places);
    }
    let command = Cli::command();
    let (mut seen, mut missing) = (0, Vec::new());
    for place in places.iter().filter(|place| !place.ends_with("hints.rs")) {
        for (number, line) in fs_err::read_to_string(place).unwrap().lines().enumerate() {
            for word in named(line) {
                seen += 1;
                if word != "help" && command.find_subcommand(&word).is_none() {
                    missing.push(format!("{}:{}: {word}", place.display(), number + 1));
                }
            }
        }
    }
    assert!(
        seen > 40,
        "only {seen} were seen: does this still read them?"
    );
    assert!(
        missing.is_empty(),
        "no such command:\n{}",
        missing.join("\n")
    );
}

#[test]
fn commands_are_told_from_sentences() {
    for (line, commands) in [
        (".hint(\"slicer-k3s init makes it\")", vec!["init"]),
        (
            "take it away with: slicer-k3s remove-host {}",
            vec!["remove-host"],
        ),
        (
            "run slicer-k3s destroy there, or slicer-k3s import here",
            vec!["destroy", "import"],
        ),
        ("         \\x20 slicer-k3s prove {group}", vec!["prove"]),
        ("    slicer-k3s status --watch", vec!["status"]),
        ("another slicer-k3s works on this cluster", vec![]),
        ("slicer-k3s takes you from bare machines", vec![]),
    ] {
        assert_eq!(named(line), commands, "{line}");
    }
}
