//! What the API, or what asks it, says of a refusal.

use serde_json::Value;

use crate::remote::Output;

/// Longest text kept of one answer, in characters.
pub(super) const LONGEST: usize = 500;

/// Why a question was refused: the message of the API's Status object, which curl prints as it came and over many lines, else
/// the last words of what asked.
pub(super) fn cause(output: &Output) -> String {
    let said = [&output.stdout, &output.stderr];
    let message = said.into_iter().find_map(|text| status(text));
    bounded(&message.unwrap_or_else(|| output.last_words().to_owned()))
}

/// The message of a Status object, or its reason, wherever it begins in a text.
fn status(text: &str) -> Option<String> {
    let starts = text.match_indices('{').map(|(at, _)| &text[at..]);
    starts.take(3).find_map(|text| {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let object = values.next()?.ok()?;
        if object["kind"] != "Status" {
            return None;
        }
        let said = ["message", "reason"].map(|key| object[key].as_str().unwrap_or_default());
        let said = said.into_iter().find(|said| !said.is_empty());
        Some(said.unwrap_or("it gave no reason").to_owned())
    })
}

/// What a server's `/readyz` lacks: the names of its failed checks, else why there is no answer.
pub(super) fn unready(output: &Output) -> String {
    let failed: Vec<&str> = output
        .stdout
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[-]")?.split(' ').next())
        .collect();
    match failed.as_slice() {
        [] => cause(output),
        [first] => format!("not ready yet: {first}"),
        [first, others @ ..] => format!("not ready yet: {first} and {} more", others.len()),
    }
}

/// A text of bounded length.
pub fn bounded(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What k3s answers curl while it starts.
    const STARTING: &str = "{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n  \"status\": \"Failure\",\n  \
        \"message\": \"apiserver not ready\",\n  \"reason\": \"ServiceUnavailable\",\n  \"code\": 503\n}";

    fn output(stdout: &str, stderr: &str) -> Output {
        Output {
            status: 0,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }

    /// The last line of a Status is its closing brace.
    #[test]
    fn a_status_is_told_by_its_message() {
        for said in [
            output(STARTING, ""),
            output("", STARTING),
            output(&format!("Error: {STARTING} x"), ""),
        ] {
            assert_eq!(cause(&said), "apiserver not ready");
            assert_eq!(unready(&said), "apiserver not ready");
        }
        let bare = r#"{"kind":"Status","message":"","reason":"Unauthorized"}"#;
        assert_eq!(cause(&output(bare, "")), "Unauthorized");
        assert_eq!(cause(&output("{\"a\":1}\n{", "")), "{");
        assert_eq!(
            cause(&output("", "curl: (7) refused\n")),
            "curl: (7) refused"
        );
    }

    #[test]
    fn failed_checks_are_named() {
        let said = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]informer-sync failed\nreadyz check failed\n";
        assert_eq!(unready(&output(said, "")), "not ready yet: etcd and 1 more");
    }

    #[test]
    fn words_are_bounded() {
        assert_eq!(
            cause(&output(&"x".repeat(9000), "")).chars().count(),
            LONGEST + 1
        );
    }
}
