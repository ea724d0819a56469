//! The client against a stand-in daemon: spellings, refusals, and what must never be sent.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, patch, post};

use super::*;
use crate::remote::{Local, Sudo};
use crate::testing::permit;

#[derive(Default)]
struct Daemon {
    secrets: Mutex<BTreeMap<String, String>>,
    asked: Mutex<Vec<String>>,
    keys: Mutex<Vec<&'static str>>,
}

fn guarded(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    if headers
        .get("authorization")
        .is_some_and(|v| v == "Bearer tok")
    {
        Ok(())
    } else {
        Err((StatusCode::UNAUTHORIZED, r#"{"error":"who are you"}"#))
    }
}

type Answer = Result<(StatusCode, String), (StatusCode, &'static str)>;

async fn list(State(daemon): State<Arc<Daemon>>, uri: Uri, headers: HeaderMap) -> Answer {
    guarded(&headers)?;
    daemon.asked.lock().unwrap().push(uri.to_string());
    let body = match uri.path() {
        "/hostgroup" => r#"[{"name":"k3s-cp","count":1,"arch":"amd64"}]"#,
        "/hostgroup/k3s-cp/nodes" => {
            r#"[{"hostname":"k3s-cp-1","ip":"10.1.0.2/24","created_at":"x"}]"#
        }
        "/vm/k3s-cp-1/health" => r#"{"hostname":"k3s-cp-1","agent_uptime":3600}"#,
        "/hostgroup/broken/nodes" => {
            return Ok((
                StatusCode::INTERNAL_SERVER_ERROR,
                r#"{"error":"disk on fire"}"#.into(),
            ));
        }
        "/hostgroup/none/nodes" => "[]",
        "/hostgroup/missing/nodes" => "",
        "/hostgroup/cut/nodes" => r#"[{"hostname":"k3s-cp-1""#,
        _ => "null",
    };
    Ok((StatusCode::OK, body.into()))
}

async fn add(State(daemon): State<Arc<Daemon>>, headers: HeaderMap, body: String) -> Answer {
    guarded(&headers)?;
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    let name = value["name"].as_str().unwrap().to_owned();
    let mut secrets = daemon.secrets.lock().unwrap();
    if secrets.contains_key(&name) {
        return Ok((StatusCode::CONFLICT, r#"{"error":"exists"}"#.into()));
    }
    secrets.insert(name, value["data"].as_str().unwrap().to_owned());
    Ok((StatusCode::CREATED, "{}".into()))
}

async fn change(State(daemon): State<Arc<Daemon>>, Path(name): Path<String>, body: String) {
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    let data = value["data"].as_str().unwrap().to_owned();
    daemon.secrets.lock().unwrap().insert(name, data);
}

async fn exec(State(daemon): State<Arc<Daemon>>, uri: Uri) -> String {
    daemon.asked.lock().unwrap().push(uri.to_string());
    let key = daemon
        .keys
        .lock()
        .unwrap()
        .pop()
        .unwrap_or("ssh-ed25519 SAME root@vm\n== again\nssh-ed25519 SAME root@vm");
    serde_json::json!({"stdout": format!("{key}\n"), "exit_code": 0}).to_string()
}

async fn start() -> (Arc<Daemon>, Slicer) {
    let daemon = Arc::new(Daemon::default());
    let router = Router::new()
        .route("/secrets", get(list).merge(post(add)))
        .route("/secrets/{name}", patch(change))
        .route("/vm/{vm}/exec", post(exec))
        .fallback(get(list))
        .with_state(Arc::clone(&daemon));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let slicer = Slicer {
        host: Arc::new(Machine::new("n100", Box::new(Local), Sudo::Root)),
        group: "k3s-cp".into(),
        address: (Ipv4Addr::LOCALHOST, port),
        token: Secret::new("tok"),
    };
    (daemon, slicer)
}

#[tokio::test]
async fn lists_are_read_in_every_spelling() {
    let (_, slicer) = start().await;
    assert_eq!(slicer.groups().await.unwrap()[0].name, "k3s-cp");
    let vms = slicer.vms("k3s-cp").await.unwrap();
    assert_eq!((vms[0].address(), vms[0].runs()), ("10.1.0.2", true));
    assert!(slicer.vms("empty").await.unwrap().is_empty());
    assert_eq!(slicer.vms_or_null("k3s-cp").await.unwrap(), Some(vms));
    assert_eq!(slicer.vms_or_null("empty").await.unwrap(), None);
    assert_eq!(slicer.vms_or_null("none").await.unwrap(), Some(Vec::new()));
    assert!(slicer.health("k3s-cp-1").await.unwrap().agent_answers());
}

/// Nodes are deleted by what a list does not have.
#[tokio::test]
async fn a_list_that_is_missing_or_cut_is_no_empty_one() {
    let (_, slicer) = start().await;
    for group in ["missing", "cut", "broken"] {
        let failure = slicer.vms(group).await.unwrap_err();
        assert_eq!(failure.code, Code::SlicerApi, "{group}");
        assert_eq!(slicer.vms_or_null(group).await.unwrap_err(), failure);
    }
}

#[tokio::test]
async fn a_refusal_carries_the_apis_own_words() {
    let (_, mut slicer) = start().await;
    let failure = slicer.vms("broken").await.unwrap_err();
    assert_eq!(failure.code, Code::SlicerApi);
    assert!(
        failure.to_string().contains("500: disk on fire"),
        "{failure}"
    );
    slicer.token = Secret::new("stale");
    let failure = slicer.groups().await.unwrap_err();
    assert_eq!(failure.code, Code::SlicerToken);
    // Which file, and the command: `init` cannot repair it.
    let hint = failure.hint.as_deref().unwrap();
    assert!(hint.contains(TOKEN_PATHS[0]), "{hint}");
    assert!(hint.contains("rotate-token --slicer"), "{hint}");
    assert!(!failure.to_string().contains("stale"));
    assert_eq!(slicer.status_without_token().await.unwrap(), 401);
}

#[tokio::test]
async fn a_secret_that_exists_is_replaced() {
    let (daemon, slicer) = start().await;
    for value in ["one", "two"] {
        slicer
            .put_secret(&permit(), "k3s-token", &Secret::new(value))
            .await
            .unwrap();
    }
    assert_eq!(
        daemon.secrets.lock().unwrap()["k3s-token"],
        STANDARD.encode("two")
    );
}

#[tokio::test]
async fn host_keys_count_only_when_two_readings_agree() {
    let (daemon, slicer) = start().await;
    daemon.keys.lock().unwrap().extend([
        // Up for long: one reading.
        "ssh-ed25519 SAME root@vm",
        "== again\nssh-ed25519 NEW x",
        "ssh-ed25519 OLD x\n== again",
        "ssh-ed25519 OLD x\n== again\nssh-ed25519 NEW x",
    ]);
    for _ in 0..3 {
        let failure = slicer.host_keys("k3s-cp-1").await.unwrap_err();
        assert_eq!(failure.code, Code::Vm);
    }
    for _ in 0..2 {
        let keys = slicer.host_keys("k3s-cp-1").await.unwrap();
        assert_eq!(keys, ["ssh-ed25519 SAME"]);
    }
    let asked = daemon.asked.lock().unwrap();
    assert!(
        asked.iter().all(|uri| uri.contains("uid=0&gid=0")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn nobody_at_the_port_is_a_failure_that_names_the_unit() {
    let (_, mut slicer) = start().await;
    slicer.address.1 = 1;
    let failure = slicer.groups().await.unwrap_err();
    assert_eq!(failure.code, Code::SlicerApi);
    assert!(failure.hint.unwrap().contains("slicer-k3s-cp"));
}
