//! Which forms of report a command knows; the others are refused by name.

use crate::cli::{Command, Output, Routes, RoutesAction};
use crate::failure::{Code, Failure, Result};

/// Commands that tell give a document, some print what they were asked for, and all others act and so tell events.
fn known(command: &Command) -> &'static [Output] {
    match command {
        Command::Status(_) => &[Output::Human, Output::Json],
        Command::Routes(Routes { action }) => match action {
            None | Some(RoutesAction::Show) => &[Output::Human, Output::Json],
            Some(RoutesAction::Apply(_)) => &[Output::Human, Output::Ndjson],
            Some(RoutesAction::Print { .. }) => &[Output::Human],
        },
        Command::Kubectl(_)
        | Command::Exec(_)
        | Command::Shell(_)
        | Command::Logs(_)
        | Command::Generate(_)
        | Command::Token(_)
        | Command::Explain(_)
        | Command::Completions { .. } => &[Output::Human],
        _ => &[Output::Human, Output::Ndjson],
    }
}

/// The command's name as it is typed: its variant's, as clap spells it too.
fn name(command: &Command) -> String {
    let mut name = String::new();
    for c in format!("{command:?}")
        .chars()
        .take_while(char::is_ascii_alphanumeric)
    {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn word(output: Output) -> &'static str {
    match output {
        Output::Human => "human",
        Output::Json => "json",
        Output::Ndjson => "ndjson",
    }
}

/// Refuses a form that the command does not know.
pub(super) fn check(command: &Command, output: Output) -> Result<()> {
    let forms = known(command);
    if forms.contains(&output) {
        return Ok(());
    }
    let forms: Vec<&str> = forms.iter().map(|form| word(*form)).collect();
    Err(Failure::new(
        Code::Config,
        format!(
            "{} does not know `--output {}`",
            name(command),
            word(output)
        ),
    )
    .hint(format!("it knows: {}", forms.join(", "))))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    /// The command's word in a line whose first option, if any, is `--output json`.
    fn cli_word(line: &str) -> String {
        let line = line.strip_prefix("--output json ").unwrap_or(line);
        line.split(' ').next().unwrap().to_owned()
    }

    #[test]
    fn a_command_refuses_a_form_that_it_does_not_know_by_name() {
        for (line, fine) in [
            ("status --output json", true),
            ("status --output ndjson", false),
            ("init --output ndjson", true),
            ("init --output json", false),
            ("token --output json", false),
            ("--output json kubectl get nodes", false),
            ("kubectl get nodes --output json", true),
        ] {
            let words = std::iter::once("slicer-k3s").chain(line.split(' '));
            let cli = Cli::try_parse_from(words).unwrap();
            let checked = check(&cli.command, cli.global.output);
            assert_eq!(checked.is_ok(), fine, "{line}");
            if let Err(failure) = checked {
                let name = cli_word(line);
                assert!(failure.what.starts_with(&name), "{}", failure.what);
            }
        }
    }
}
