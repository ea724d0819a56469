//! What every code and every step means, what usually causes it, what to do: the sections of docs/troubleshooting.md.

/// The page is the source; this program carries it.
const PAGE: &str = include_str!("../docs/troubleshooting.md");

/// One section of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The part it belongs to: "Codes" or "Steps".
    pub part: &'static str,
    /// The code or step.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

impl Explanation {
    /// Its first sentence, on one line.
    pub fn first_sentence(&self) -> String {
        let words = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.split_once(". ") {
            Some((first, _)) => format!("{first}."),
            None => words,
        }
    }
}

/// All of them, in the page's order.
pub fn all() -> Vec<Explanation> {
    let mut found = Vec::new();
    for part in PAGE.split("\n# ").skip(1) {
        let title = part.lines().next().unwrap_or_default();
        for section in part.split("\n## ").skip(1) {
            let (name, text) = section.split_once('\n').unwrap_or((section, ""));
            found.push(Explanation {
                part: title,
                name: name.trim(),
                text: text.trim(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::failure::Code;
    use crate::step_id::StepName;

    #[test]
    fn every_code_is_explained_with_its_causes_and_what_to_do() {
        let all = all();
        for code in Code::ALL {
            let found = all.iter().find(|one| one.name == code.name());
            let text = found
                .unwrap_or_else(|| panic!("{} is not explained", code.name()))
                .text;
            for part in ["\n\nUsual causes: ", "\n\nWhat to do: "] {
                assert!(text.contains(part), "{}: no {part:?}", code.name());
            }
        }
    }

    /// A line of the report, an error and an event all lead to a section. That of `group-emptied` was missing.
    #[test]
    fn every_step_is_explained() {
        let all = all();
        let steps = all.iter().filter(|one| one.part == "Steps");
        let explained: HashSet<_> = steps.map(|one| one.name).collect();
        let steps: HashSet<_> = StepName::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(explained, steps);
    }

    /// `explain NAME` must lead to one section, and to none of a code that is gone.
    #[test]
    fn names_are_unique_and_no_code_is_invented() {
        let all = all();
        let names: HashSet<_> = all.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), all.len(), "two sections have one name");
        for one in all.iter().filter(|one| one.part == "Codes") {
            assert!(
                Code::ALL.iter().any(|code| code.name() == one.name),
                "{} is no code",
                one.name
            );
        }
    }

    #[test]
    fn the_list_shows_one_sentence_each() {
        for one in all() {
            let sentence = one.first_sentence();
            assert!(
                sentence.ends_with('.') && !sentence.contains('\n'),
                "{}: {sentence}",
                one.name
            );
        }
    }
}
