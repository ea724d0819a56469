//! Secrets: 201, 400, 404, 409, 500, and content that never comes back.

use serde_json::json;

use super::*;

/// The whole life of a secret, with the fields and the mode that the document names.
#[tokio::test]
async fn a_secret_lives() {
    let daemon = daemon().await;
    assert_eq!(daemon.get("/secrets").await, (200, json!([])));
    let body = r#"{"name":"k3s-token","data":"SzEwYWJj"}"#;
    assert_eq!(daemon.post("/secrets", body).await.0, 201);
    refused(daemon.post("/secrets", body).await, 409);
    let (_, list) = daemon.get("/secrets").await;
    let secret = &list[0];
    assert_eq!(secret["name"], "k3s-token");
    assert_eq!(secret["size"], 6);
    assert_eq!(secret["permissions"], "0600");
    assert!(secret["uid"].is_u64() && secret["gid"].is_u64() && secret["mod_time"].is_string());
    assert!(secret.get("data").is_none());
    let file = daemon.directory.path().join("work/.secrets/k3s-token");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "K10abc");
    // What is not named stays.
    assert_eq!(
        daemon
            .call(
                Method::PATCH,
                "/secrets/k3s-token",
                r#"{"permissions":"0640"}"#
            )
            .await
            .0,
        200
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "K10abc");
    assert_eq!(
        daemon
            .call(Method::PATCH, "/secrets/k3s-token", r#"{"data":"bmV3"}"#)
            .await
            .0,
        200
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(daemon.get("/secrets").await.1[0]["permissions"], "0640");
    assert_eq!(daemon.delete("/secrets/k3s-token").await.0, 200);
    refused(daemon.delete("/secrets/k3s-token").await, 404);
    refused(
        daemon.call(Method::PATCH, "/secrets/k3s-token", "{}").await,
        404,
    );
}

/// Whoever watches a secret's time sees a change within the same second.
#[tokio::test]
async fn a_secrets_time_is_finer_than_a_second() {
    let daemon = daemon().await;
    daemon
        .post("/secrets", r#"{"name":"a","data":"YQ=="}"#)
        .await;
    let time = async || daemon.get("/secrets").await.1[0]["mod_time"].clone();
    let first = time().await;
    // Longer than a tick of the file system's clock.
    tokio::time::sleep(Duration::from_millis(30)).await;
    daemon
        .call(Method::PATCH, "/secrets/a", r#"{"data":"Yg=="}"#)
        .await;
    assert_ne!(first, time().await);
}

/// Input that would leave the directory, or that is not what it says, is refused.
#[tokio::test]
async fn bad_secrets_are_refused() {
    let daemon = daemon().await;
    refused(
        daemon
            .post("/secrets", r#"{"name":"../x","data":"YQ=="}"#)
            .await,
        400,
    );
    refused(
        daemon.post("/secrets", r#"{"name":"x","data":"%%"}"#).await,
        400,
    );
    refused(daemon.post("/secrets", r#"{"name":"x"}"#).await, 400);
    refused(
        daemon.post("/secrets", r#"{"name":"x","data":""}"#).await,
        400,
    );
    refused(
        daemon
            .post(
                "/secrets",
                r#"{"name":"x","data":"YQ==","permissions":"rw"}"#,
            )
            .await,
        400,
    );
    refused(daemon.post("/secrets", "x").await, 400);
}

/// T-16: where nobody made the directory, the list is a 500.
#[tokio::test]
async fn a_missing_directory_is_a_500() {
    let daemon = daemon_with(Variant::one("secrets-dir", "manual")).await;
    refused(daemon.get("/secrets").await, 500);
    let daemon = daemon_with(Variant::one("secret-time", "modified_at")).await;
    daemon
        .post("/secrets", r#"{"name":"a","data":"YQ=="}"#)
        .await;
    let (_, list) = daemon.get("/secrets").await;
    assert!(list[0]["modified_at"].is_string() && list[0].get("mod_time").is_none());
}
