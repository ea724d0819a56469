//! A unit's journal, start by start: what one start of a program said is no cause of another's end.

use serde_json::Value;

/// The fields of journalctl's JSON that are read; `starts.sh` asks for both.
///
/// Source: systemd.journal-fields(7).
const INVOCATION: &str = "_SYSTEMD_INVOCATION_ID";
const MESSAGE: &str = "MESSAGE";

/// One start of a unit (an invocation, in systemd's words), with what its programs logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// systemd's invocation id; empty where the journal does not have it.
    pub id: String,
    /// What was logged, oldest first.
    pub lines: Vec<String>,
}

/// Reads journalctl's JSON lines; the oldest start first. What is no entry is skipped.
pub fn starts(json: &str) -> Vec<Start> {
    let mut starts: Vec<Start> = Vec::new();
    for line in json.lines() {
        let Ok(Value::Object(entry)) = serde_json::from_str(line) else {
            continue;
        };
        let id = entry.get(INVOCATION).and_then(Value::as_str);
        let id = id.unwrap_or_default();
        let said = entry.get(MESSAGE).map(message).unwrap_or_default();
        // What an earlier start left running may still log while the next one does.
        let known = starts.iter().position(|start| start.id == id);
        let at = known.unwrap_or(starts.len());
        if known.is_none() {
            starts.push(Start {
                id: id.to_owned(),
                lines: Vec::new(),
            });
        }
        starts[at].lines.push(said);
    }
    starts
}

/// A message; one that is not plain text comes as its bytes.
fn message(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(bytes) => {
            let bytes = bytes.iter().filter_map(Value::as_u64);
            let bytes: Vec<u8> = bytes.filter_map(|byte| u8::try_from(byte).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => String::new(),
    }
}

/// The starts since somebody started the unit: its current one, `id`, and as many before it as systemd has made by itself
/// since then. What lies before belongs to a trouble that may be repaired.
pub fn since(starts: &[Start], id: &str, restarts: u32) -> Vec<Start> {
    let known = starts.iter().position(|start| start.id == id);
    let end = known.map_or(starts.len(), |at| at + 1);
    // A start that has not logged anything yet is not among them.
    let silent = known.is_none() && !id.is_empty();
    let count = usize::try_from(restarts).unwrap_or(usize::MAX);
    let count = count.saturating_add(usize::from(!silent));
    starts[end.saturating_sub(count)..end].to_vec()
}

#[cfg(test)]
pub(crate) mod testing {
    use serde_json::json;

    /// The JSON lines of a journal: (invocation id, line).
    pub(crate) fn journal(lines: &[(&str, &str)]) -> String {
        let entry = |(id, said): &(&str, &str)| {
            json!({"__CURSOR": "s=1", "_SYSTEMD_INVOCATION_ID": id, "MESSAGE": said}).to_string()
        };
        lines.iter().map(|line| entry(line) + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::journal;
    use super::*;

    /// A field that is not asked for is empty: every start would be one without an id.
    #[test]
    fn the_script_asks_for_the_fields_that_are_read() {
        let script = include_str!("starts.sh");
        let fields = format!("--output-fields={MESSAGE},{INVOCATION} ");
        assert!(script.contains(&fields) && script.contains(&format!("\"{INVOCATION}\":\"")));
    }

    #[test]
    fn lines_belong_to_their_start() {
        let read = starts(&journal(&[("a", "1"), ("b", "2"), ("a", "3")]));
        let ids: Vec<&str> = read.iter().map(|start| start.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(read[0].lines, ["1", "3"]);
        let bytes = r#"{"MESSAGE":[104,105,255],"_SYSTEMD_INVOCATION_ID":"a"}"#;
        assert_eq!(starts(bytes)[0].lines, ["hi\u{fffd}"]);
        assert_eq!(starts("no JSON\n[]\n"), []);
    }

    /// What an earlier run left in the journal was taken for the cause of the next failure.
    #[test]
    fn only_starts_since_somebody_started_it_count() {
        let all = starts(&journal(&[
            ("old", "x"),
            ("a", "x"),
            ("b", "x"),
            ("c", "x"),
        ]));
        let ids = |id: &str, restarts: u32| -> Vec<String> {
            let some = since(&all, id, restarts);
            some.into_iter().map(|start| start.id).collect()
        };
        assert_eq!(ids("c", 0), ["c"]);
        assert_eq!(ids("c", 2), ["a", "b", "c"]);
        assert_eq!(ids("b", 1), ["a", "b"]);
        // The one that runs now has not said anything.
        assert_eq!(ids("d", 0), [""; 0]);
        assert_eq!(ids("d", 2), ["b", "c"]);
        assert_eq!(ids("c", 9).len(), 4);
        assert_eq!(since(&[], "c", 3), []);
    }
}
