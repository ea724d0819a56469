//! k3s's own way to replace the server token, and to save the bootstrap data again.

use std::time::Duration;

use serde_json::json;

use crate::failure::{Code, Failure, Result};
use crate::names::k3s::{TOKEN_REQUEST_PATH, local_api};
use crate::pipeline::WritePermit;
use crate::remote::{Machine, Script, curl_option};
use crate::secret::Secret;

/// What `k3s token rotate` does (k3s pkg/server/handlers/token.go, `tokenRotate`), without its flags: they would show both
/// tokens in the process list.
const PUT: &str = "curl -sSk -m 60 -o /dev/null -w '%{http_code}' -K - -- {}";

/// curl's own limit and a margin for the connection.
const LIMIT: Duration = Duration::from_secs(70);

/// Has a server take `new` as the cluster's server token, by the token `by` that its process lets in: it seals the bootstrap
/// data with it and saves them as they are on this server's disk. With the token that it has already only the second
/// happens. `Err` carries the HTTP status where the server does not do it; then what is sealed with which token is unknown.
pub(crate) async fn put(
    server: &Machine,
    permit: &WritePermit,
    by: &Secret,
    new: &Secret,
) -> Result<(), Failure> {
    let stdin = [
        ("request", "PUT".to_owned()),
        ("user", format!("server:{}", by.expose())),
        ("header", "Content-Type: application/json".to_owned()),
        ("data", json!({ "newToken": new.expose() }).to_string()),
    ]
    .map(|(name, value)| curl_option(name, &value))
    .concat();
    let script = Script::new(PUT, &[&local_api(TOKEN_REQUEST_PATH)])
        .stdin(stdin)
        .limit(LIMIT);
    let done = server.run(permit, &script).await?;
    let status = done.stdout.trim();
    if done.ok() && status.len() == 3 && status.starts_with('2') {
        return Ok(());
    }
    let words = match done.last_words() {
        "" => String::new(),
        words => format!(": {words}"),
    };
    Err(Failure::new(
        Code::Kubernetes,
        format!("{} does not take the server token", server.name()),
    )
    .because(format!("HTTP {status}{words}"))
    .hint(format!(
        "on {}: sudo journalctl -u k3s -n 50; then run again",
        server.name()
    )))
}
