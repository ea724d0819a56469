//! The help of every command.

use clap::CommandFactory as _;

use super::*;

/// The commands that examples show, each as its words, without what the shell does with them.
fn commands(examples: &str) -> Vec<Vec<String>> {
    let joined = examples.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("slicer-k3s "))
        .map(|line| {
            let words = words(line);
            let signs = [">", "<", "|"];
            let ours = words.iter().take_while(|word| !signs.contains(&&***word));
            ours.cloned().collect()
        })
        .collect()
}

/// A line's words; what is in single quotes is one.
fn words(line: &str) -> Vec<String> {
    let quoted = |n: usize| n % 2 == 1;
    let parts = line.split('\'').enumerate().map(|(n, part)| match part {
        part if quoted(n) => vec![part.to_owned()],
        part => part.split_whitespace().map(str::to_owned).collect(),
    });
    parts.flatten().collect()
}

/// The comment of a variant hid all but the first line, and there was not one example.
#[test]
fn every_command_has_a_long_help_of_its_own_and_examples_that_can_be_typed() {
    let mut cli = Cli::command();
    cli.build();
    for command in cli.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        if name == "help" {
            continue;
        }
        let about = command.get_about().map(ToString::to_string).unwrap();
        let long = command.get_long_about().map(ToString::to_string);
        let long = long.unwrap_or_else(|| panic!("{name}: one paragraph"));
        assert!(long.starts_with(&about) && long.contains("\n\n"), "{name}");
        let short_help = command.render_help().to_string();
        let long_help = command.render_long_help().to_string();
        let second = long.split("\n\n").nth(1).unwrap();
        let begin: Vec<&str> = second.split_whitespace().take(3).collect();
        assert!(long_help.contains(&begin.join(" ")), "{name}: {long_help}");
        assert!(!short_help.contains(&begin.join(" ")), "{name}");

        let examples = command.get_after_help().map(ToString::to_string);
        let examples = examples.unwrap_or_else(|| panic!("{name}: no examples"));
        assert!(examples.starts_with("Examples:\n"), "{name}");
        assert!(
            long_help.contains(&examples) && short_help.contains(&examples),
            "{name}"
        );
        assert!(examples.lines().all(|line| line.len() < 80), "{name}");
        let commands = commands(&examples);
        assert!(commands.iter().any(|words| words[1] == name), "{name}");
        for words in commands {
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{words:?}: {}", parsed.err().unwrap());
        }
    }
}

/// Thirteen lines of options that most commands have no use for stood below every short help.
#[test]
fn the_short_help_has_no_options_that_are_every_commands() {
    let mut cli = Cli::command();
    cli.build();
    let token = cli.find_subcommand_mut("token").unwrap();
    let short = token.render_help().to_string();
    let long = token.render_long_help().to_string();
    for flag in [
        "--output",
        "--timings",
        "--accept-new-host-keys",
        "--verbose",
    ] {
        assert!(!short.contains(flag) && long.contains(flag), "{flag}");
    }
    assert!(short.contains("--config"));
}

/// For a pipeline: what would otherwise have to be on every line.
#[test]
fn the_variables_of_flags_are_named_in_the_help() {
    let mut cli = Cli::command();
    cli.build();
    let init = cli.find_subcommand_mut("init").unwrap();
    let help = init.render_long_help().to_string();
    for variable in [
        "SLICER_K3S_CONFIG",
        "SLICER_K3S_YES",
        "SLICER_K3S_ACCEPT_NEW_HOST_KEYS",
        "SLICER_K3S_ACCEPT_SLICER_LICENCE",
        "SLICER_K3S_SUDO_PASSWORD",
    ] {
        assert!(help.contains(variable), "{variable}: {help}");
    }
    // A variable that was set for `init` must not remove anything.
    for name in ["destroy", "remove-host", "rotate-token", "import", "prove"] {
        let command = cli.find_subcommand_mut(name).unwrap();
        let help = command.render_long_help().to_string();
        assert!(!help.contains("SLICER_K3S_YES"), "{name}");
    }
}
