//! Tokens, unknown paths, faults, and the calls without a VM.

use super::*;

/// Without the token everything but the liveness check is refused, unknown paths included.
#[tokio::test]
async fn everything_but_healthz_wants_the_token() {
    let daemon = daemon().await;
    let stranger = daemon.anonymous();
    for path in [
        "/nodes",
        "/hostgroup",
        "/info",
        "/secrets",
        "/metrics",
        "/nowhere",
        "/healthz/",
    ] {
        refused(raw(&stranger, Method::GET, path, "").await, 401);
    }
    let wrong = Client::new(daemon.place.clone(), String::new(), Some("sesam".into()));
    refused(raw(&wrong, Method::GET, "/nodes", "").await, 401);
    assert_eq!(raw(&stranger, Method::GET, "/healthz", "").await.0, 200);
    assert_eq!(raw(&stranger, Method::HEAD, "/healthz", "").await.0, 200);
}

/// A trailing slash is another path; so is a call joined onto a URL that already has one (`…/nodes`).
#[tokio::test]
async fn paths_are_exact() {
    let daemon = daemon().await;
    refused(daemon.get("/nodes/").await, 404);
    refused(daemon.get("/hostgroup/").await, 404);
    let joined = Client::new(daemon.place.clone(), "/nodes".into(), Some("sesame".into()));
    assert!(joined.get("/nodes").await.is_ok());
    assert!(
        joined
            .get_joined("/hostgroup")
            .await
            .unwrap_err()
            .to_string()
            .contains("404")
    );
}

/// `/info` and `/hostgroup` have the documented fields; both spellings of the liveness check and arch.
#[tokio::test]
async fn the_daemon_tells_what_it_is() {
    let daemon = daemon().await;
    let (_, info) = daemon.get("/info").await;
    assert!(info["version"].is_string() && info["git_commit"].is_string());
    assert_eq!(
        (&info["platform"], &info["arch"]),
        (&"linux".into(), &"amd64".into())
    );
    let (_, groups) = daemon.get("/hostgroup").await;
    assert_eq!(
        groups[1],
        serde_json::json!({"name": "w", "count": 0, "ram_bytes": 4_294_967_296_u64, "cpus": 2, "gpu_count": 0, "arch": "x86_64"})
    );
    assert_eq!(daemon.get("/healthz").await.1["status"], "ok");
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("slicer_vm_running{host_group=\"cp\",api=\"false\",state=\"running\"} 1")
    );
    let other = daemon_with(Variant::one("healthz", "text")).await;
    assert_eq!(other.get("/healthz").await.1, "OK");
    let other = daemon_with(Variant::one("arch", "amd64")).await;
    assert_eq!(other.get("/hostgroup").await.1[0]["arch"], "amd64");
}

/// A client with the token can stop the daemon; it is told before that happens.
#[tokio::test]
async fn the_daemon_can_be_stopped() {
    let daemon = daemon().await;
    refused(
        raw(&daemon.anonymous(), Method::POST, "/daemon/shutdown", "").await,
        401,
    );
    refused(daemon.get("/daemon/shutdown").await, 405);
    let soon = |app: App| async move {
        let asked = tokio::time::timeout(Duration::from_secs(5), app.stop_asked());
        asked.await.is_ok()
    };
    let asked = tokio::spawn(soon(daemon.app.clone()));
    assert_eq!(daemon.post("/daemon/shutdown", "").await.0, 202);
    assert!(asked.await.unwrap());
}

/// A fault file takes effect at the next request, and its removal too.
#[tokio::test]
async fn faults_are_read_at_every_request() {
    let daemon = daemon().await;
    let file = daemon.directory.path().join("lab/faults/slicer-api-w.json");
    let fault = |text: &str| std::fs::write(&file, text).unwrap();
    fault(r#"{"mode":"401"}"#);
    refused(daemon.get("/nodes").await, 401);
    fault(r#"{"mode":"500","path":"/secrets"}"#);
    refused(daemon.get("/secrets").await, 500);
    assert_eq!(daemon.get("/nodes").await.0, 200);
    fault(r#"{"mode":"refuse"}"#);
    assert!(daemon.client.get("/nodes").await.is_err());
    fault(r#"{"mode":"hang"}"#);
    let hung = tokio::time::timeout(Duration::from_millis(200), daemon.client.get("/nodes")).await;
    assert!(hung.is_err());
    std::fs::remove_file(&file).unwrap();
    assert_eq!(daemon.get("/nodes").await.0, 200);
}
