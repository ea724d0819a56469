//! A function fits on a screen, and a file is one concept.

use crate::source::{Source, closing, product};

/// Most lines of a function.
const FUNCTION: usize = 60;

/// Most lines of a file, its tests not counted.
const FILE: usize = 400;

/// Functions that are longer today. Each that is split takes one away; none may be added.
const LONGER: usize = 31;

/// Each function with its first line and its number of lines.
fn functions(source: &Source) -> Vec<(String, usize, usize)> {
    let text = &source.text;
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn ") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = text[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let mut open = at + 3 + name.len();
        while !matches!(text.as_bytes().get(open), Some(b'{' | b';') | None) {
            if matches!(text.as_bytes()[open], b'(' | b'[') {
                open = closing(text, open);
            }
            open += 1;
        }
        if name.is_empty() || text.as_bytes().get(open) != Some(&b'{') {
            continue;
        }
        let (first, last) = (source.line(at), source.line(closing(text, open)));
        found.push((name, first, last + 1 - first));
    }
    found
}

#[test]
fn functions_fit_on_a_screen() {
    let mut longer: Vec<String> = Vec::new();
    let mut all = 0;
    for source in product() {
        for (name, line, lines) in functions(&source) {
            all += 1;
            if lines > FUNCTION {
                longer.push(format!("{lines} lines: src/{}:{line} {name}", source.path));
            }
        }
    }
    assert!(all > 2000, "only {all} functions were found");
    assert_eq!(
        longer.len(),
        LONGER,
        "functions of more than {FUNCTION} lines:\n{}",
        longer.join("\n")
    );
}

#[test]
fn files_are_one_concept_each() {
    let longer: Vec<String> = product()
        .iter()
        .map(|source| (source.text.trim_end().matches('\n').count() + 1, source))
        .filter(|(lines, _)| *lines > FILE)
        .map(|(lines, source)| format!("{lines} lines: src/{}", source.path))
        .collect();
    assert!(longer.is_empty(), "{}", longer.join("\n"));
}
