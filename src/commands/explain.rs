//! `slicer-k3s explain [NAME]`: what a code or a step means, what usually causes it, what to do.

use std::fmt::Write as _;

use crate::cli::Explain;
use crate::explanations::{self, Explanation};
use crate::failure::{Code, Failure, Failures, Result};
use crate::{report, suggest};

/// Runs it.
pub(super) fn run(options: &Explain) -> Result<u8, Failures> {
    let all = explanations::all();
    let text = match &options.name {
        Some(asked) => about(&all, asked)?,
        None => list(&all),
    };
    report::data(&text);
    Ok(0)
}

/// What is said about one name, as it may be copied from a report.
fn about(all: &[Explanation], asked: &str) -> Result<String> {
    // As copied from a report: `error[vm]`, `vm-up/k3s-cp-1`.
    let name = asked
        .trim_start_matches("error[")
        .trim_end_matches([']', ':']);
    let name = name.split('/').next().unwrap_or_default();
    if let Some(found) = all.iter().find(|one| one.name == name) {
        return Ok(format!("{name}\n\n{}", paragraphs(found.text)));
    }
    let names: Vec<&str> = all.iter().map(|one| one.name).collect();
    let failure = Failure::new(Code::Config, format!("no code or step is called {asked}"));
    Err(failure.hint(match suggest::nearest(name, &names) {
        Some(near) => format!("did you mean {near}? slicer-k3s explain {near}"),
        None => "slicer-k3s explain lists them all".to_owned(),
    }))
}

/// Every name with its first sentence.
fn list(all: &[Explanation]) -> String {
    let mut text = String::new();
    let mut part = "";
    for one in all {
        if one.part != part {
            let _ = writeln!(
                text,
                "{}{}:",
                if part.is_empty() { "" } else { "\n" },
                one.part
            );
            part = one.part;
        }
        let heading = format!("  {:<18} ", one.name);
        text += &report::headed(&heading, &one.first_sentence());
    }
    text
}

/// The page's lines are longer than a terminal's.
fn paragraphs(text: &str) -> String {
    let paragraphs = text
        .split("\n\n")
        .map(|lines| report::wrapped(&lines.replace('\n', " "), 0));
    paragraphs.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_as_reports_print_them() {
        for name in ["vm", "error[vm]:", "vm-up/k3s-cp-1", "host-key-changed"] {
            let text = about(&explanations::all(), name).unwrap();
            let word = name.trim_start_matches("error[").split([']', '/']).next();
            assert!(text.starts_with(word.unwrap()), "{name}");
        }
    }

    #[test]
    fn all_of_it_fits_a_terminal() {
        let all = explanations::all();
        let texts = all.iter().map(|one| about(&all, one.name).unwrap());
        for text in texts.chain([list(&all)]) {
            for line in text.lines() {
                assert!(line.chars().count() <= report::WIDTH, "{line}");
            }
        }
        let one = about(&all, "vm").unwrap();
        assert_eq!(one.matches("\n\n").count(), 3, "{one}");
        assert!(!one.contains('|'), "{one}");
    }

    #[test]
    fn a_slip_gets_a_suggestion() {
        let failure = about(&explanations::all(), "ssh-unrechable").unwrap_err();
        assert_eq!(failure.code.exit_code(), 2);
        assert!(failure.hint.unwrap().contains("ssh-unreachable"));
    }
}
