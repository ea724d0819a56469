//! The product's source without comments, texts and tests; line numbers stay as they are.

use std::fs;
use std::path::Path;

/// One file of the product.
pub(crate) struct Source {
    /// Below `src`.
    pub(crate) path: String,
    /// Its text; comments, strings, characters and tests are blanks.
    pub(crate) text: String,
}

impl Source {
    /// Its module, the outermost first; empty for the crate's root.
    pub(crate) fn module(&self) -> Vec<&str> {
        let bare = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let parts = bare.split('/');
        parts
            .filter(|part| !matches!(*part, "lib" | "main"))
            .collect()
    }

    /// The number of the line at a byte of its text.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

/// All files of the product that are not only tests.
pub(crate) fn product() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    let mut sources = Vec::new();
    let mut only_tests = Vec::new();
    for (path, text) in files {
        let (text, tests) = without_tests(&blanked(&text));
        let source = Source { path, text };
        let module = source.module().join("/");
        only_tests.extend(tests.iter().map(|name| {
            let path = format!("{module}/{name}");
            path.trim_start_matches('/').to_owned()
        }));
        sources.push(source);
    }
    sources.retain(|source| {
        let module = source.module().join("/");
        !only_tests
            .iter()
            .any(|test| module == *test || module.starts_with(&format!("{test}/")))
    });
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 200, "where is the source?");
    sources
}

fn walk(root: &Path, place: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let below = path.strip_prefix(root).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            files.push((below.to_str().unwrap().to_owned(), text));
        }
    }
}

/// Comments, strings and characters as blanks, of the same length in bytes.
pub(crate) fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = comment(&text[at..])
            .or_else(|| raw_string(text, at))
            .or_else(|| string(&bytes[at..]))
            .or_else(|| character(&text[at..]));
        let Some(length) = length else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let end = (at + length).min(bytes.len());
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).unwrap()
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.starts_with("/*")
        .then(|| rest.find("*/").map_or(rest.len(), |end| end + 2))
}

/// `r"…"`, `r#"…"#` and so on, also of bytes.
fn raw_string(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].bytes().next_back();
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let rest = &text[at..];
    let after = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let inside = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let begin = rest.len() - inside.len();
    let end = inside.find(&close)?;
    Some(begin + end + close.len())
}

fn string(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    Some(at + 1)
}

/// `'x'`, `'\n'`, `'\u{…}'`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let length = match inside.strip_prefix('\\') {
        Some(escaped) if escaped.starts_with("u{") => 1 + escaped.find('}')? + 1,
        Some(escaped) if escaped.starts_with('x') => 4,
        Some(_) => 2,
        None => inside
            .chars()
            .next()
            .filter(|c| !matches!(c, '\'' | '\n'))?
            .len_utf8(),
    };
    inside
        .get(length..)?
        .starts_with('\'')
        .then_some(length + 2)
}

/// Where the bracket that opens at `open` closes.
pub(crate) fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len() - 1
}

/// The text with each item that is compiled for tests only as blanks, and the names of such modules that are files.
fn without_tests(text: &str) -> (String, Vec<String>) {
    let mut text = text.to_owned();
    let mut modules = Vec::new();
    while let Some(begin) = ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .filter_map(|test| text.find(test))
        .min()
    {
        let mut item = closing(&text, begin + 1) + 1;
        while text[item..].trim_start().starts_with("#[") {
            let next = item + text[item..].find('#').unwrap();
            item = closing(&text, next + 1) + 1;
        }
        let end = item_end(&text, item);
        let words: Vec<&str> = text[item..end].split_whitespace().collect();
        if let Some(at) = words.iter().position(|word| *word == "mod")
            && let Some(name) = words.get(at + 1).and_then(|word| word.strip_suffix(';'))
        {
            modules.push(name.to_owned());
        }
        let blank: String = text[begin..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        text.replace_range(begin..end, &blank);
    }
    (text, modules)
}

/// Behind the `;` or the body that ends the item (or the field, or the arm) at `item`.
fn item_end(text: &str, item: usize) -> usize {
    let is_use = text[item..]
        .split_whitespace()
        .take(2)
        .any(|word| word == "use");
    let mut at = item;
    while at < text.len() {
        match text.as_bytes()[at] {
            b';' => return at + 1,
            b'{' if is_use => at = closing(text, at),
            b'{' => return closing(text, at) + 1,
            b'(' | b'[' => at = closing(text, at),
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[test]
fn comments_texts_and_tests_are_blanks() {
    let text = "use a::b; // c::d\nlet x = \"crate::y\"; let z = r#\"a\"b\"#; let c = '\"'; fn f<'a>() {}\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod inside { fn g() {} }\nfn h() {}\n";
    let blank = blanked(text);
    assert_eq!(blank.len(), text.len());
    let (rest, modules) = without_tests(&blank);
    assert_eq!(modules, ["tests"]);
    let words: Vec<&str> = rest.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "use a::b; let x = ; let z = ; let c = ; fn f<'a>() {} fn h() {}"
    );
}
