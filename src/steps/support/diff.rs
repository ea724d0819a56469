//! What writing files would change, as unified diffs for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use similar::TextDiff;

use crate::failure::Result;
use crate::remote::Machine;
use crate::steps::support::file::File;

/// Most lines shown of one file's difference.
const MOST_LINES: usize = 60;

/// Most bytes of a file that are compared line by line: ours are far smaller.
const MOST_BYTES: usize = 64 * 1024;

/// The differences of those of a machine's files that are not as they should be.
pub(crate) async fn of_files(
    machine: &Machine,
    files: impl IntoIterator<Item = File>,
) -> Result<String> {
    let mut text = String::new();
    for file in files {
        if file.differs(machine).await?.is_none() {
            continue;
        }
        let old = machine.read(&file.path).await?;
        let name = format!("{}:{}", machine.name(), file.path);
        if file.secret {
            let keys = keys(old.as_deref().unwrap_or_default(), &file.content);
            let _ = writeln!(text, "{name} holds secrets and is not shown{keys}");
        } else {
            text.push_str(&unified(&name, old.as_deref(), &file.content));
        }
    }
    Ok(text)
}

/// The names of the keys that differ between two YAML tables; nothing of their values.
fn keys(old: &str, new: &str) -> String {
    let table = |text: &str| -> Map<String, Value> {
        let options = crate::yaml::options();
        serde_saphyr::from_str_with_options(text, options).unwrap_or_default()
    };
    let (old, new) = (table(old), table(new));
    let names: BTreeSet<&str> = old
        .keys()
        .chain(new.keys())
        .filter(|key| old.get(*key) != new.get(*key))
        .map(String::as_str)
        .collect();
    if names.is_empty() || old.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = names.into_iter().take(20).collect();
    format!("; what differs: {}", names.join(", "))
}

/// One text's difference; no old one means that there was none.
pub(crate) fn unified(name: &str, old: Option<&str>, new: &str) -> String {
    if old.is_some_and(|old| old.len() > MOST_BYTES) {
        return format!("{name}: it is too large to compare, and would be replaced\n");
    }
    let before = if old.is_some() { name } else { "/dev/null" };
    let diff = TextDiff::from_lines(old.unwrap_or_default(), new);
    let mut format = diff.unified_diff();
    let text = format.context_radius(2).header(before, name).to_string();
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = lines[..lines.len().min(MOST_LINES)].join("\n");
    if !shown.is_empty() {
        shown.push('\n');
    }
    if lines.len() > MOST_LINES {
        let _ = writeln!(
            shown,
            "… {} more lines (slicer-k3s generate writes whole files)",
            lines.len() - MOST_LINES
        );
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::sha256;
    use crate::testing::{Fake, machine};

    fn file(secret: bool) -> File {
        File {
            path: "/etc/x".into(),
            mode: "0644",
            content: "cpu: 4\nkept: 1\n".into(),
            secret,
        }
    }

    #[tokio::test]
    async fn changed_lines_are_shown_and_equal_files_are_not() {
        let fake = Fake::new()
            .says("stat", "644 0 0\nbeef  -\n")
            .says("cat", "cpu: 2\nkept: 1\n");
        let text = of_files(&machine("n100", fake), [file(false)])
            .await
            .unwrap();
        assert_eq!(
            text,
            "--- n100:/etc/x\n+++ n100:/etc/x\n@@ -1,2 +1,2 @@\n-cpu: 2\n+cpu: 4\n kept: 1\n"
        );
        let same = format!("644 0 0\n{}  -\n", sha256(file(false).content.as_bytes()));
        let fake = Fake::new().says("stat", &same);
        let text = of_files(&machine("n100", fake), [file(false)]).await;
        assert_eq!(text.unwrap(), "");
    }

    /// Neither what a secret file holds nor what it would hold is shown; only the names of what differs.
    #[tokio::test]
    async fn secrets_are_not_shown() {
        for (old, words) in [
            ("cpu: s3cret\nkept: 1\n", "; what differs: cpu\n"),
            ("s3cret: [", "is not shown\n"),
        ] {
            let fake = Fake::new()
                .says("stat", "600 0 0\nbeef  -\n")
                .says("cat", old);
            let text = of_files(&machine("n100", fake), [file(true)])
                .await
                .unwrap();
            assert!(text.ends_with(words) && text.contains("/etc/x"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn new_files_are_whole_and_long_ones_are_cut() {
        assert!(unified("a", None, "x\n").starts_with("--- /dev/null\n+++ a\n"));
        let long = "line\n".repeat(500);
        assert_eq!(unified("a", None, &long).lines().count(), MOST_LINES + 1);
        assert_eq!(
            unified("a", Some(&"x".repeat(MOST_BYTES + 1)), "")
                .lines()
                .count(),
            1
        );
    }
}
