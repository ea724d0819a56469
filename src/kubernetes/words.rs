//! What the API, or what asks it, says of a refusal.

use serde_json::Value;

use crate::remote::Output;

/// Longest text kept of one answer, in characters.
pub(super) const LONGEST: usize = 500;

/// Why a question was refused: the message of the API's Status object, else the last words of what asked. Never the answer
/// itself: objects hold what is no one's to print.
pub(super) fn cause(output: &Output) -> String {
    let said = [&output.stdout, &output.stderr];
    if let Some(message) = said.into_iter().find_map(|text| status(text)) {
        return bounded(&message);
    }
    let mut lines = output.stderr.lines().rev().map(str::trim);
    match lines.find(|line| !line.is_empty()) {
        Some(words) => bounded(words),
        None => format!(
            "exit status {}, and an answer of {} bytes without a reason",
            output.status,
            output.stdout.len()
        ),
    }
}

/// What kubectl printed of a refusal: its code and message.
///
/// Source: kubernetes/kubectl pkg/cmd/util/helpers.go (`StandardErrorMessage`); the reasons' codes are those of
/// kubernetes/apimachinery pkg/api/errors/errors.go.
pub(super) fn refusal(stderr: &str) -> Option<(u64, String)> {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty())?;
    let (_, rest) = line.split_once("Error from server (")?;
    let (reason, message) = rest.split_once("): ")?;
    let code = match reason {
        "NotFound" => 404,
        "Expired" | "Gone" => 410,
        "TooManyRequests" => 429,
        _ => return None,
    };
    Some((code, bounded(message)))
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
            cut: false,
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
        // A line of an object was told as the cause.
        let object = "{\"kind\":\"Pod\",\n\"env\":\"s3cret\"";
        assert!(!cause(&output(object, "")).contains("s3cret"));
        assert!(!unready(&output(object, "")).contains("s3cret"));
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
    fn kubectls_refusals_have_the_apis_codes() {
        for (stderr, code) in [
            (
                "Error from server (NotFound): pods \"a\" not found\n",
                Some(404),
            ),
            (
                "Error from server (Expired): The provided continue parameter is too old\n",
                Some(410),
            ),
            ("Error from server (Forbidden): no\n", None),
            (
                "The connection to the server 127.0.0.1:6443 was refused",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(refusal(stderr).map(|(code, _)| code), code, "{stderr}");
        }
    }

    #[test]
    fn words_are_bounded() {
        assert_eq!(
            cause(&output("", &"x".repeat(9000))).chars().count(),
            LONGEST + 1
        );
    }
}
