//! Commands in the background, as Slicer's SDKs use them.

use serde_json::json;

use super::*;

async fn launch(daemon: &Daemon, script: &str, more: &str) -> (Value, String) {
    let script = crate::cli::client::escape(script);
    let path = format!("/vm/cp-1/exec?background=true&cmd=sh&args=-c&args={script}{more}");
    let (status, exec) = daemon.post(&path, "").await;
    assert_eq!(status, 201, "{exec}");
    let base = format!("/vm/cp-1/exec/{}", exec["exec_id"].as_str().unwrap());
    (exec, base)
}

async fn logs(daemon: &Daemon, base: &str) -> Vec<Value> {
    let (_, text) = daemon.get(&format!("{base}/logs?follow=true")).await;
    let text = text.as_str().unwrap().to_owned();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The log begins with the start and ends with the exit, and its bytes come whole where base64 is asked for.
#[tokio::test]
async fn logs_have_control_frames_and_whole_bytes() {
    let daemon = daemon().await;
    let (exec, base) = launch(
        &daemon,
        r"printf '\377'; echo $$ >&2; exit 3",
        "&stdio=base64",
    )
    .await;
    let frames = logs(&daemon, &base).await;
    let first = &frames[0];
    assert_eq!(
        (&first["type"], &first["id"]),
        (&json!("started"), &json!(0))
    );
    assert_eq!(
        (&first["pid"], &first["started_at"]),
        (&exec["pid"], &exec["started_at"])
    );
    let of = |kind: &str| frames.iter().find(|frame| frame["type"] == kind).unwrap();
    assert_eq!(of("stdout")["data"], "/w==");
    assert_eq!(of("stdout")["encoding"], "base64");
    // The number that is told is the one that the command has in the VM.
    let own = format!("{}\n", exec["pid"]);
    assert_eq!(of("stderr")["data"], Value::String(base64(&own)));
    let last = frames.last().unwrap();
    assert_eq!(
        (&last["type"], &last["exit_code"]),
        (&json!("exit"), &json!(3))
    );
    assert!(last["ended_at"].is_string());
    // Text is what it was, without an encoding.
    let (_, base) = launch(&daemon, "echo ä", "").await;
    let frames = logs(&daemon, &base).await;
    assert!(
        frames
            .iter()
            .any(|f| f["data"] == "ä\n" && f.get("encoding").is_none())
    );
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

/// `cwd` is a text or is not there.
#[tokio::test]
async fn a_directory_that_was_not_said_is_not_null() {
    let daemon = daemon().await;
    let (_, base) = launch(&daemon, "true", "").await;
    assert!(daemon.get(&base).await.1.get("cwd").is_none());
    assert!(daemon.get("/vm/cp-1/exec").await.1[0].get("cwd").is_none());
    let (_, base) = launch(&daemon, "true", "&cwd=/").await;
    assert_eq!(daemon.get(&base).await.1["cwd"], "/");
}

/// A TERM that a command ignores is not its end; when its grace is over it is killed.
#[tokio::test]
async fn an_ignored_signal_ends_nothing() {
    let daemon = daemon().await;
    let file = daemon.directory.path().join("ready");
    let script = format!("trap '' TERM; touch {}; sleep 60; true", file.display());
    let (_, base) = launch(&daemon, &script, "").await;
    daemon.until(async || file.exists()).await;
    let kill = format!("{base}/kill");
    assert_eq!(daemon.post(&kill, r#"{"grace_ms":800}"#).await.0, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(daemon.get(&base).await.1["running"], true);
    let (_, end) = daemon.get(&format!("{base}/wait-exit?timeout=10")).await;
    assert_eq!(end["exit_code"], 137);
    refused(daemon.post(&kill, "[]").await, 400);
}

/// The document reaps a running command; Slicer's SDK for Go expects a conflict.
#[tokio::test]
async fn a_running_command_is_reaped_or_a_conflict() {
    let daemon = daemon_with(Variant::one("exec-reap", "ended")).await;
    let (_, base) = launch(&daemon, "sleep 60", "").await;
    refused(daemon.delete(&base).await, 409);
    daemon
        .post(&format!("{base}/kill"), r#"{"signal":"KILL"}"#)
        .await;
    daemon.get(&format!("{base}/wait-exit?timeout=10")).await;
    assert_eq!(daemon.delete(&base).await.0, 200);
}
