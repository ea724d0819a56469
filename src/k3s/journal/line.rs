//! One line of k3s's journal: logrus' `level=… msg="…"`, and etcd's JSON.

use serde_json::Value;

/// Begins the message by which k3s ends itself; the reason follows.
///
/// Source: k3s@af977adf pkg/signals/signals.go, `SetupSignalContext`.
const SHUTDOWN: &str = "Shutdown request received: ";

/// The levels of a message that ends the process at once, in logrus' words and in zap's.
///
/// Source: sirupsen/logrus logrus.go (`Level`), uber-go/zap zapcore/level.go.
const ENDING: [&str; 2] = ["fatal", "panic"];

/// How Go's runtime begins when the process crashes.
///
/// Source: golang/go src/runtime/panic.go.
const CRASHES: [&str; 2] = ["panic: ", "fatal error: "];

/// What the lines of all these contain, as it stands in journalctl's JSON, where quotes are escaped: the journal is searched
/// for it on the machine.
pub(super) const ENDS: [&str; 7] = [
    "level=fatal",
    "level=panic",
    SHUTDOWN,
    r#"\"level\":\"fatal\""#,
    r#"\"level\":\"panic\""#,
    r#""panic: "#,
    r#""fatal error: "#,
];

/// Longest message kept, in characters: some of k3s's hold whole answers.
const LONGEST: usize = 500;

/// What a line says of the process that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It ends of this, at once.
    Fatal(String),
    /// It was asked from within to end, because of this.
    Shutdown(String),
    /// It crashed.
    Panic(String),
    /// Anything else, in plain words.
    Other(String),
}

/// Reads a line.
pub(super) fn read(line: &str) -> Line {
    let line = line.trim();
    if let Some((level, message)) = logrus(line) {
        let shutdown = message.strip_prefix(SHUTDOWN);
        return match (level, shutdown) {
            (level, _) if ENDING.contains(&level) => Line::Fatal(bounded(&message)),
            // k3s quotes the reason once more.
            ("error", Some(reason)) => Line::Shutdown(bounded(&unquoted(reason))),
            _ => Line::Other(bounded(&message)),
        };
    }
    if let Some((level, message)) = zap(line) {
        return if ENDING.contains(&level.as_str()) {
            Line::Fatal(bounded(&message))
        } else {
            Line::Other(bounded(&message))
        };
    }
    if CRASHES.iter().any(|crash| line.starts_with(crash)) {
        return Line::Panic(bounded(line));
    }
    Line::Other(bounded(line))
}

/// Level and message of `time="…" level=LEVEL msg=MESSAGE …`.
fn logrus(line: &str) -> Option<(&str, String)> {
    let (_, rest) = line.strip_prefix("time=")?.split_once(" level=")?;
    let (level, rest) = rest.split_once(" msg=")?;
    // Without a blank in it, it is not quoted.
    let message = if rest.starts_with('"') {
        unquoted(rest)
    } else {
        rest.split(' ').next().unwrap_or_default().to_owned()
    };
    Some((level, message))
}

/// Level and message, with its error, of a line of etcd's.
fn zap(line: &str) -> Option<(String, String)> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let part = |key: &str| entry.get(key).and_then(Value::as_str);
    let message = match (part("msg")?, part("error")) {
        (message, Some(error)) => format!("{message}: {error}"),
        (message, None) => message.to_owned(),
    };
    Some((part("level")?.to_owned(), message))
}

/// The text that Go's `%q` wrote, up to its closing quote; what does not begin with a quote as it is.
fn unquoted(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('x') => plain.extend(coded(&mut rest, 2)),
                Some('u') => plain.extend(coded(&mut rest, 4)),
                Some('U') => plain.extend(coded(&mut rest, 8)),
                Some(other) => plain.push(other),
                None => break,
            },
            c => plain.push(c),
        }
    }
    plain
}

/// The character of this many hexadecimal digits.
fn coded(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let digits: String = rest.take(digits).collect();
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}

fn bounded(message: &str) -> String {
    let message = message.trim();
    match message.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logrus_lines_are_read_as_their_message() {
        let fatal = r#"time="2026-06-29T10:00:00Z" level=fatal msg="Error: preparing server: \"x\" isn't there\n""#;
        assert_eq!(
            read(fatal),
            Line::Fatal("Error: preparing server: \"x\" isn't there".into())
        );
        let shutdown = r#"time="2026-06-29T10:00:00Z" level=error msg="Shutdown request received: \"apiserver exited: Get \\\"https://x\\\": EOF\"""#;
        assert_eq!(
            read(shutdown),
            Line::Shutdown("apiserver exited: Get \"https://x\": EOF".into())
        );
        // Being stopped from without is no cause.
        let stopped = r#"time="2026-06-29T10:00:00Z" level=info msg="Shutdown request received""#;
        assert_eq!(
            read(stopped),
            Line::Other("Shutdown request received".into())
        );
        assert_eq!(
            read("time=x level=fatal msg=short"),
            Line::Fatal("short".into())
        );
    }

    #[test]
    fn etcds_lines_are_read_with_their_error() {
        let line = r#"{"level":"fatal","ts":"2026","caller":"wal/wal.go:1","msg":"failed to save","error":"no space left on device"}"#;
        assert_eq!(
            read(line),
            Line::Fatal("failed to save: no space left on device".into())
        );
        assert_eq!(
            read("panic: freepages: failed to get all reachable pages"),
            Line::Panic("panic: freepages: failed to get all reachable pages".into())
        );
    }

    /// A line that the journal's search leaves out is no cause to its reader.
    #[test]
    fn every_line_that_ends_a_start_is_searched_for() {
        for line in [
            "time=\"x\" level=fatal msg=\"y\"",
            "time=\"x\" level=panic msg=\"y\"",
            "time=\"x\" level=error msg=\"Shutdown request received: \\\"y\\\"\"",
            "{\"level\":\"fatal\",\"msg\":\"y\"}",
            "{\"level\":\"panic\",\"msg\":\"y\"}",
            "panic: y",
            "fatal error: y",
        ] {
            assert!(!matches!(read(line), Line::Other(_)), "{line}");
            let json = serde_json::json!({ "MESSAGE": line }).to_string();
            assert!(ENDS.iter().any(|text| json.contains(text)), "{json}");
        }
    }

    #[test]
    fn a_message_is_bounded() {
        let Line::Other(long) = read(&"ä".repeat(5000)) else {
            panic!()
        };
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert_eq!(unquoted(r#""a\x1bb\u00e4\U0001f980\q"#), "a\u{1b}bä🦀q");
        assert_eq!(unquoted("\"\\"), "");
    }
}
