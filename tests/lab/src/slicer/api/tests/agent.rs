//! What goes through the agent: health, logs, exec, copies, files.

use serde_json::json;

use super::*;

async fn frames(daemon: &Daemon, path: &str, body: &str) -> Vec<Value> {
    match daemon.post(path, body).await.1 {
        Value::String(text) => text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        one => vec![one],
    }
}

/// Health has the documented fields; strangers and silent agents have their statuses.
#[tokio::test]
async fn health_is_told() {
    let daemon = daemon().await;
    let (_, health) = daemon.get("/vm/cp-1/health").await;
    assert_eq!(health["hostname"], "cp-1");
    assert!(health["agent_uptime"].as_i64().unwrap() > 0 && health["system_uptime"].is_i64());
    assert!(health["agent_version"].is_string() && health["userdata_ran"].is_boolean());
    assert_eq!(
        daemon.call(Method::HEAD, "/vm/cp-1/health", "").await.0,
        200
    );
    refused(daemon.get("/vm/x-1/health").await, 404);
    let (_, stats) = daemon.get("/node/cp-1/stats").await;
    assert_eq!(stats["snapshot"]["totalCpus"], 2);
    assert!(daemon.get("/nodes/stats").await.1.is_array());
    daemon
        .machines
        .mute
        .store(true, std::sync::atomic::Ordering::Relaxed);
    refused(daemon.get("/vm/cp-1/health").await, 500);
}

/// The serial log: twenty lines unless asked otherwise, all of them for zero.
#[tokio::test]
async fn logs_are_cut() {
    let daemon = daemon().await;
    refused(daemon.get("/vm/cp-1/logs").await, 404);
    let text: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
    let text = text.join(
        "
",
    );
    std::fs::write(daemon.directory.path().join("log/cp-1.txt"), text).unwrap();
    let (_, log) = daemon.get("/vm/cp-1/logs").await;
    assert_eq!(
        (&log["lines"], &log["hostname"]),
        (&json!(20), &json!("cp-1"))
    );
    assert!(log["content"].as_str().unwrap().starts_with("line 11\n"));
    assert_eq!(daemon.get("/vm/cp-1/logs?lines=0").await.1["lines"], 30);
    refused(daemon.get("/vm/cp-1/logs?lines=x").await, 400);
    refused(daemon.get("/vm/x-1/logs").await, 404);
}

/// A stream of frames ends with the exit code, which is not lost.
#[tokio::test]
async fn exec_streams_typed_frames() {
    let daemon = daemon().await;
    let path =
        "/vm/cp-1/exec?cmd=sh&args=-c&args=echo%20out%3B%20echo%20err%20%3E%262%3B%20exit%203";
    let frames = frames(&daemon, path, "").await;
    let kinds: Vec<_> = frames
        .iter()
        .filter_map(|frame| frame["type"].as_str())
        .collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("started", "exit"));
    assert!(
        frames
            .iter()
            .any(|frame| frame["type"] == "stdout" && frame["data"] == "out\n")
    );
    assert!(
        frames
            .iter()
            .any(|frame| frame["type"] == "stderr" && frame["data"] == "err\n")
    );
    let last = frames.last().unwrap();
    assert_eq!(
        (&last["exit_code"], &last["error"]),
        (&json!(3), &json!("exit status 3"))
    );
}

/// Old agents have no types, and base64 when asked.
#[tokio::test]
async fn exec_streams_untyped_frames() {
    let daemon = daemon_with(Variant::one("exec-frames", "untyped")).await;
    let frames = frames(&daemon, "/vm/cp-1/exec?cmd=echo&args=hi&stdio=base64", "").await;
    assert!(frames.iter().all(|frame| frame.get("type").is_none()));
    assert_eq!(
        (&frames[0]["stdout"], &frames[0]["encoding"]),
        (&json!("aGkK"), &json!("base64"))
    );
    assert_eq!(frames.last().unwrap()["exit_code"], 0);
}

/// Standard input, environment, directory and shell reach the command.
#[tokio::test]
async fn exec_passes_everything_on() {
    let daemon = daemon().await;
    let out = async |path: &str, body: &str| {
        let text: String = frames(&daemon, path, body)
            .await
            .iter()
            .filter_map(|f| f["data"].as_str().map(str::to_owned))
            .collect();
        text
    };
    assert_eq!(
        out("/vm/cp-1/exec?cmd=cat&stdin=true", "poured in").await,
        "poured in"
    );
    assert_eq!(out("/vm/cp-1/exec?cmd=pwd&cwd=/", "").await, "/\n");
    assert_eq!(
        out("/vm/cp-1/exec?shell=/bin/sh&cmd=echo%20%24A&env=A=b", "").await,
        "b\n"
    );
    assert_eq!(
        out("/vm/cp-1/exec?shell=/bin/sh&cmd=echo&args=%24A&env=A=b", "").await,
        "$A\n"
    );
    let absent = frames(&daemon, "/vm/cp-1/exec?cmd=/no/such", "").await;
    assert!(
        absent
            .iter()
            .all(|frame| frame.get("pid") != Some(&Value::Null))
    );
    refused(daemon.post("/vm/cp-1/exec", "").await, 400);
    refused(daemon.post("/vm/cp-1/exec?cmd=a&uid=root", "").await, 400);
    refused(daemon.post("/vm/x-1/exec?cmd=a", "").await, 404);
}

/// Collected output is one object; it has no standard input.
#[tokio::test]
async fn exec_collects() {
    let daemon = daemon().await;
    let (status, body) = daemon
        .post(
            "/vm/cp-1/exec?cmd=sh&args=-c&args=echo%20a%3B%20exit%205&buffered=true",
            "",
        )
        .await;
    assert_eq!(
        (status, &body["stdout"], &body["exit_code"]),
        (200, &json!("a\n"), &json!(5))
    );
    assert_eq!(body["stderr"], "");
    refused(
        daemon
            .post("/vm/cp-1/exec?cmd=cat&buffered=true&stdin=true", "")
            .await,
        400,
    );
}

/// A paused VM answers 409 to whatever needs its agent.
#[tokio::test]
async fn a_paused_vm_is_a_conflict() {
    let daemon = daemon().await;
    assert_eq!(daemon.post("/vm/cp-1/pause", "").await.0, 200);
    assert_eq!(daemon.get("/nodes").await.1[0]["status"], "Paused");
    refused(daemon.post("/vm/cp-1/exec?cmd=true", "").await, 409);
    refused(daemon.get("/vm/cp-1/cp?path=/etc/hostname").await, 409);
    refused(daemon.get("/vm/cp-1/fs/stat?path=/").await, 409);
    assert_eq!(daemon.post("/vm/cp-1/resume", "").await.0, 200);
    assert_eq!(daemon.post("/vm/cp-1/exec?cmd=true", "").await.0, 200);
    refused(daemon.post("/vm/x-1/pause", "").await, 404);
    refused(daemon.post("/vm/cp-1/suspend", "").await, 501);
    refused(daemon.post("/vm/x-1/restore", "").await, 404);
}

/// A command in the background: launched, followed, awaited, killed, reaped, gone.
#[tokio::test]
async fn exec_runs_in_the_background() {
    let daemon = daemon().await;
    let (status, exec) = daemon
        .post(
            "/vm/cp-1/exec?cmd=sh&args=-c&args=echo%20a%3B%20exit%207&background=true",
            "",
        )
        .await;
    assert_eq!(status, 201);
    assert!(
        exec["pid"].is_u64() && exec["started_at"].is_string() && exec["ring_bytes"] == 1 << 20
    );
    let base = format!("/vm/cp-1/exec/{}", exec["exec_id"].as_str().unwrap());
    let (_, end) = daemon.get(&format!("{base}/wait-exit?timeout=5")).await;
    assert_eq!(
        (&end["exit_code"], &end["timed_out"], &end["running"]),
        (&json!(7), &json!(false), &json!(false))
    );
    let (_, logs) = daemon.get(&format!("{base}/logs?follow=true")).await;
    assert!(logs.as_str().unwrap().contains(r#""data":"a\n""#), "{logs}");
    assert_eq!(daemon.get("/vm/cp-1/exec").await.1[0]["command"], "sh");
    assert_eq!(daemon.delete(&base).await.1["reaped"], true);
    refused(daemon.get(&base).await, 410);
    refused(daemon.delete(&base).await, 410);
    let (_, exec) = daemon
        .post("/vm/cp-1/exec?cmd=sleep&args=60&background=true", "")
        .await;
    let base = format!("/vm/cp-1/exec/{}", exec["exec_id"].as_str().unwrap());
    assert_eq!(
        daemon.get(&format!("{base}/wait-exit?timeout=0")).await.1["timed_out"],
        true
    );
    assert_eq!(
        daemon.post(&format!("{base}/kill"), "").await.1["signal_sent"],
        "TERM"
    );
    assert_eq!(
        daemon.get(&format!("{base}/wait-exit?timeout=5")).await.1["exit_code"],
        143
    );
    refused(
        daemon
            .post("/vm/cp-1/exec?cmd=cat&background=true&stdin=true", "")
            .await,
        400,
    );
    refused(
        daemon
            .post(
                "/vm/cp-1/exec?cmd=a&background=true&ring_bytes=999999999",
                "",
            )
            .await,
        503,
    );
}

/// Files go in with their mode and come out with it; new modes are unknown to this old agent.
#[tokio::test]
async fn files_are_copied() {
    let daemon = daemon().await;
    let me = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let file = daemon
        .directory
        .path()
        .join("new/file")
        .display()
        .to_string();
    let put = format!(
        "/vm/cp-1/cp?path={file}&mode=binary&permissions=0640&uid={}&gid={}",
        me.0, me.1
    );
    assert_eq!(daemon.post(&put, "content").await.0, 200);
    let response = daemon
        .client
        .send(Method::GET, &format!("/vm/cp-1/cp?path={file}"), full(""))
        .await
        .unwrap();
    assert_eq!(response.headers()["x-slicer-file-mode"], "0640");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "content"
    );
    let (status, error) = daemon
        .post(&format!("/vm/cp-1/cp?path={file}&mode=cp-v1-binary"), "")
        .await;
    assert_eq!(status, 400);
    assert_eq!(
        error["error"],
        "cp produced an unexpected error: 400: invalid mode: cp-v1-binary"
    );
    refused(daemon.get("/vm/cp-1/cp?path=/no/such/file").await, 404);
    refused(daemon.get("/vm/cp-1/cp?path=/tmp").await, 400);
    refused(daemon.get("/vm/x-1/cp?path=/tmp").await, 404);
    refused(daemon.get("/vm/cp-1/cp").await, 400);
}

/// Directories are made, listed, looked at and removed.
#[tokio::test]
async fn directories_are_handled() {
    let daemon = daemon().await;
    let base = daemon.directory.path().join("dir").display().to_string();
    let body =
        json!({"path": format!("{base}/a b"), "recursive": true, "mode": "0750"}).to_string();
    assert_eq!(daemon.post("/vm/cp-1/fs/mkdir", &body).await.0, 200);
    let (_, list) = daemon
        .get(&format!("/vm/cp-1/fs/readdir?path={base}"))
        .await;
    assert_eq!(
        (&list[0]["name"], &list[0]["type"], &list[0]["mode"]),
        (&json!("a b"), &json!("directory"), &json!("0750"))
    );
    let (_, stat) = daemon.get(&format!("/vm/cp-1/fs/stat?path={base}")).await;
    assert!(stat["name"] == "dir" && stat["mtime"].as_i64().unwrap() > 0 && stat["size"].is_u64());
    refused(
        daemon
            .delete(&format!("/vm/cp-1/fs/remove?path={base}"))
            .await,
        400,
    );
    assert_eq!(
        daemon
            .delete(&format!("/vm/cp-1/fs/remove?path={base}&recursive=true"))
            .await
            .0,
        200
    );
    refused(
        daemon.get(&format!("/vm/cp-1/fs/stat?path={base}")).await,
        404,
    );
    refused(daemon.get("/vm/cp-1/fs/readdir").await, 400);
}
