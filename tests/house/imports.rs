//! Imports lead down: a module uses only what lies below it in the order of docs/design.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, closing, product};

const DESIGN: &str = include_str!("../../docs/design.md");

/// Modules that are compiled for tests only; they may use everything.
const FOR_TESTS: [&str; 2] = ["fuzz", "testing"];

/// The layer of each module, by the indented block of the section "Who may import whom"; the lowest line is first.
fn layers() -> BTreeMap<&'static str, usize> {
    let section = DESIGN.split("## Who may import whom\n").nth(1).unwrap();
    let block = section
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "));
    block
        .enumerate()
        .flat_map(|(layer, line)| line.split_whitespace().map(move |name| (name, layer)))
        .collect()
}

/// The top-level modules that a file uses, each with its place.
fn targets(source: &Source) -> Vec<(usize, String)> {
    let (text, depth) = (&source.text, source.module().len());
    let mut found = Vec::new();
    for (at, word) in words(text) {
        let after = at + word.len();
        match word {
            "crate" => {
                if let Some(path) = text[after..].strip_prefix("::") {
                    let names = heads(text, text.len() - path.len()).into_iter();
                    found.extend(names.map(|name| (at, name)));
                }
            }
            "super" if !text[..at].ends_with("super::") => {
                let mut path = &text[at..];
                let mut up = 0;
                while let Some(rest) = path.strip_prefix("super::") {
                    (path, up) = (rest, up + 1);
                }
                if up == depth {
                    let names = heads(text, text.len() - path.len()).into_iter();
                    found.extend(names.map(|name| (at, name)));
                }
            }
            _ => {}
        }
    }
    found
}

/// Each word of a text with its place.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = 0;
    std::iter::from_fn(move || {
        let begin = rest + text[rest..].find(is_part)?;
        let end = text[begin..]
            .find(|c| !is_part(c))
            .map_or(text.len(), |n| begin + n);
        rest = end;
        Some((begin, &text[begin..end]))
    })
}

/// The first names of the path, or of the group of paths, at `at`.
fn heads(text: &str, at: usize) -> Vec<String> {
    let rest = &text[at..];
    let group = rest
        .starts_with('{')
        .then(|| &text[at + 1..closing(text, at)]);
    let mut depth = 0;
    let parts: Vec<&str> = group
        .unwrap_or(rest)
        .split_inclusive([',', '{', '}'])
        .collect();
    let mut names = Vec::new();
    for part in parts {
        if depth == 0 {
            names.extend(words(part).next().map(|(_, name)| name.to_owned()));
            if group.is_none() {
                break;
            }
        }
        match part.chars().next_back() {
            Some('{') => depth += 1,
            Some('}') => depth -= 1,
            _ => {}
        }
    }
    names
}

#[test]
fn every_module_has_a_layer_and_every_layer_its_modules() {
    let layers: BTreeSet<&str> = layers().into_keys().collect();
    let sources = product();
    let modules: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.module().first().copied())
        .filter(|module| !FOR_TESTS.contains(module))
        .collect();
    assert_eq!(layers, modules, "docs/design.md, Who may import whom");
}

#[test]
fn imports_lead_down() {
    let layers = layers();
    let mut up = Vec::new();
    for source in product() {
        let module = source.module();
        let Some(own) = module.first().and_then(|name| layers.get(name)) else {
            continue;
        };
        for (at, target) in targets(&source) {
            let is_below = layers.get(target.as_str()).is_some_and(|layer| layer < own);
            if target != module[0] && !is_below {
                up.push(format!(
                    "src/{}:{} uses {target}",
                    source.path,
                    source.line(at)
                ));
            }
        }
    }
    assert!(
        up.is_empty(),
        "these imports do not lead down (docs/design.md, Who may import whom):\n{}",
        up.join("\n")
    );
}

#[test]
fn all_ways_to_name_a_module_are_seen() {
    let text = "use crate::a::X; use crate::{b::{c, d}, e};\nfn f() { super::super::g::h(); super::i(); }\npub(crate) use crate::j;";
    let source = Source {
        path: "steps/host/x.rs".into(),
        text: text.into(),
    };
    let names: Vec<String> = targets(&source).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "e", "j"]);
    let source = Source {
        path: "steps/x.rs".into(),
        text: text.into(),
    };
    let names: Vec<String> = targets(&source).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "e", "g", "j"]);
}
