//! Requests whose client is gone, and names that another VM has got.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::*;
use crate::machine::{Ending, Machines};

/// Sends a request, and goes away while it is being done.
async fn break_off(daemon: &Daemon, method: &str, path: &str) {
    let Place::Tcp(address) = &daemon.place else {
        panic!("no TCP")
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer sesame\r\ncontent-length: 0\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
}

async fn stopped(daemon: &Daemon) {
    daemon.machines.ask("cp-1", Ending::Reboot).unwrap();
    daemon
        .until(async || daemon.get("/nodes").await.1[0]["status"] == "Stopped")
        .await;
}

/// A VM whose deletion has begun goes, also when nobody waits for it: it does not stay in the list without a disk.
#[tokio::test]
async fn a_deletion_goes_on_without_its_client() {
    let daemon = daemon().await;
    daemon.post("/hostgroup/w/nodes?wait=agent", "{}").await;
    daemon.machines.slow.store(600, Relaxed);
    break_off(&daemon, "DELETE", "/hostgroup/w/nodes/w-1").await;
    assert_eq!(
        daemon.get("/hostgroup/w/nodes").await.1[0]["status"],
        "Stopped"
    );
    daemon
        .until(async || daemon.get("/hostgroup/w/nodes").await.1 == json!([]))
        .await;
}

/// A VM whose relaunch has begun comes up, also when nobody waits for it: it is not `Running` for ever without a guest.
#[tokio::test]
async fn a_relaunch_goes_on_without_its_client() {
    let daemon = daemon().await;
    stopped(&daemon).await;
    daemon.machines.slow.store(600, Relaxed);
    break_off(&daemon, "POST", "/vm/cp-1/relaunch").await;
    refused(daemon.get("/vm/cp-1/health").await, 500);
    daemon
        .until(async || daemon.get("/vm/cp-1/health").await.0 == 200)
        .await;
}

/// Of several deletions of one VM one finds it, and none of them takes the VM that gets its name next.
#[tokio::test]
async fn a_vm_is_deleted_once() {
    let daemon = daemon().await;
    daemon.post("/hostgroup/w/nodes?wait=agent", "{}").await;
    let first = daemon.fleet.node("w-1").unwrap();
    daemon.machines.slow.store(300, Relaxed);
    let path = "/hostgroup/w/nodes/w-1";
    let (a, b, c) = tokio::join!(
        daemon.delete(path),
        daemon.delete(path),
        daemon.delete(path)
    );
    let mut statuses = [a.0, b.0, c.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404, 404]);
    let (_, again) = daemon.post("/hostgroup/w/nodes", "{}").await;
    assert_eq!(again["hostname"], "w-1");
    assert!(!daemon.fleet.delete(&first).await.unwrap());
    assert!(!daemon.fleet.wait_ready(&first, false, Duration::ZERO).await);
    assert_eq!(
        daemon.get("/hostgroup/w/nodes").await.1[0]["hostname"],
        "w-1"
    );
}

/// The agent of a VM whose CPUs stand still answers nobody.
#[tokio::test]
async fn a_paused_vm_is_not_healthy() {
    let daemon = daemon().await;
    assert_eq!(daemon.post("/vm/cp-1/pause", "").await.0, 200);
    refused(daemon.get("/vm/cp-1/health").await, 500);
    let head = raw(&daemon.client, Method::HEAD, "/vm/cp-1/health", "").await;
    assert_eq!(head.0, 500);
    let (_, stats) = daemon.get("/node/cp-1/stats").await;
    assert!(stats["error"].is_string() && stats.get("snapshot").is_none());
    assert_eq!(daemon.post("/vm/cp-1/resume", "").await.0, 200);
    assert_eq!(daemon.get("/vm/cp-1/health").await.0, 200);
}

/// Commands in the background end with their VM, and so does what the agent knew of them.
#[tokio::test]
async fn a_vm_that_comes_back_knows_no_commands_of_before() {
    let daemon = daemon().await;
    let path = "/vm/cp-1/exec?background=true&cmd=true";
    let (_, exec) = daemon.post(path, "").await;
    let id = exec["exec_id"].as_str().unwrap();
    let one = format!("/vm/cp-1/exec/{id}");
    assert_eq!(daemon.get(&one).await.0, 200);
    stopped(&daemon).await;
    assert_eq!(daemon.get("/vm/cp-1/exec").await.1, json!([]));
    assert_eq!(daemon.post("/vm/cp-1/relaunch", "").await.0, 200);
    assert_eq!(daemon.get("/vm/cp-1/exec").await.1, json!([]));
    refused(daemon.get(&one).await, 410);
}
