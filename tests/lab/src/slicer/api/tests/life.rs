//! How VMs come and go: protected and ephemeral ones, limits, names, waits.

use serde_json::json;

use super::*;
use crate::machine::{Ending, Machines};

/// A VM of the API: created with a mask in its address, listed without, deleted with its disk.
#[tokio::test]
async fn a_vm_lives() {
    let daemon = daemon().await;
    let (status, vm) = daemon.post("/hostgroup/w/nodes", "{}").await;
    assert_eq!(status, 201);
    assert_eq!(
        (&vm["hostname"], &vm["ip"]),
        (&json!("w-1"), &json!("192.168.138.2/24"))
    );
    assert_eq!(
        (&vm["hostgroup"], &vm["persistent"]),
        (&json!("w"), &json!(false))
    );
    // Nanoseconds and the host's zone, as the documents' samples have them.
    let created = vm["created_at"].as_str().unwrap();
    assert!(
        created.contains('.') && created.ends_with("+01:00"),
        "{created}"
    );
    let (_, list) = daemon.get("/hostgroup/w/nodes").await;
    assert_eq!(
        (&list[0]["ip"], &list[0]["status"]),
        (&json!("192.168.138.2"), &json!("Running"))
    );
    assert_eq!(list[0]["created_at"], vm["created_at"]);
    assert_eq!(list[0]["ram_bytes"], 4_294_967_296_u64);
    assert_eq!(daemon.get("/nodes").await.1.as_array().unwrap().len(), 2);
    let (status, gone) = daemon.delete("/hostgroup/w/nodes/w-1").await;
    assert_eq!((status, &gone["disk_removed"]), (200, &json!("true")));
    assert!(gone["message"].is_string() && gone.get("error").is_none());
    refused(daemon.delete("/hostgroup/w/nodes/w-1").await, 404);
    assert!(
        daemon
            .machines
            .disks
            .lock()
            .unwrap()
            .iter()
            .all(|disk| disk != "w-1")
    );
}

/// The older spellings of the same.
#[tokio::test]
async fn old_statuses_and_fields() {
    let daemon = daemon_with(Variant::one("create-status", "200")).await;
    assert_eq!(daemon.post("/hostgroup/w/nodes", "{}").await.0, 200);
    let daemon = daemon_with(Variant::one("delete-status", "204")).await;
    daemon.post("/hostgroup/w/nodes", "{}").await;
    assert_eq!(
        daemon.delete("/hostgroup/w/nodes/w-1").await,
        (204, json!(""))
    );
    let daemon = daemon_with(Variant::one("node-fields", "absent")).await;
    let (_, list) = daemon.get("/nodes").await;
    let fields: std::collections::BTreeSet<_> = list[0].as_object().unwrap().keys().collect();
    assert_eq!(
        fields.into_iter().collect::<Vec<_>>(),
        ["created_at", "hostname", "ip"]
    );
}

/// T-21: VMs of the YAML's `count` cannot be deleted.
#[tokio::test]
async fn fixed_vms_are_protected() {
    let daemon = daemon().await;
    refused(daemon.delete("/hostgroup/cp/nodes/cp-1").await, 403);
    refused(daemon.delete("/hostgroup/w/nodes/cp-1").await, 404);
    refused(daemon.delete("/hostgroup/x/nodes/cp-1").await, 404);
}

/// The group's size is the most that a VM may have; other nonsense is refused too.
#[tokio::test]
async fn limits_hold() {
    let daemon = daemon().await;
    for body in [
        r#"{"cpus":3}"#,
        r#"{"ram_bytes":4294967297}"#,
        r#"{"gpu_count":1}"#,
        r#"{"ip":"192.168.139.2"}"#,
        r#"{"secrets":["absent"]}"#,
        r#"{"cpus":"two"}"#,
        "",
    ] {
        refused(daemon.post("/hostgroup/w/nodes", body).await, 400);
    }
    refused(
        daemon.post("/hostgroup/w/nodes?wait=forever", "{}").await,
        400,
    );
    refused(
        daemon
            .post("/hostgroup/w/nodes?wait=agent&timeout=5", "{}")
            .await,
        400,
    );
    refused(daemon.post("/hostgroup/x/nodes", "{}").await, 404);
    assert_eq!(daemon.get("/hostgroup/w/nodes").await.1, json!([]));
    let (_, vm) = daemon
        .post(
            "/hostgroup/w/nodes",
            r#"{"cpus":1,"ram_bytes":1073741824,"ip":"192.168.138.9/24"}"#,
        )
        .await;
    assert_eq!(vm["ip"], "192.168.138.9/24");
    assert_eq!(daemon.get("/nodes").await.1[1]["cpus"], 1);
}

/// T-62 hangs on this: freed names come back, or never do.
#[tokio::test]
async fn freed_names_are_reused_or_not() {
    for (choice, expected) in [("lowest-free", "w-1"), ("monotonic", "w-3")] {
        let daemon = daemon_with(Variant::one("hostnames", choice)).await;
        daemon.post("/hostgroup/w/nodes", "{}").await;
        daemon.post("/hostgroup/w/nodes", "{}").await;
        daemon.delete("/hostgroup/w/nodes/w-1").await;
        assert_eq!(
            daemon.post("/hostgroup/w/nodes", "{}").await.1["hostname"],
            expected
        );
    }
}

/// `wait` gives the VM when it is ready, or 408 and no VM.
#[tokio::test]
async fn waiting_ends_in_a_vm_or_none() {
    let daemon = daemon().await;
    assert_eq!(
        daemon
            .post("/hostgroup/w/nodes?wait=userdata&timeout=5s", "{}")
            .await
            .0,
        201
    );
    daemon
        .machines
        .mute
        .store(true, std::sync::atomic::Ordering::Relaxed);
    refused(
        daemon
            .post("/hostgroup/w/nodes?wait=agent&timeout=50ms", "{}")
            .await,
        408,
    );
    assert_eq!(
        daemon
            .get("/hostgroup/w/nodes")
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// T-28: a guest's reboot is its stop. An ephemeral VM goes with its disk; a persistent one waits for
/// `relaunch`, which a running one refuses.
#[tokio::test]
async fn a_reboot_is_the_end() {
    let daemon = daemon().await;
    daemon.post("/hostgroup/w/nodes?wait=agent", "{}").await;
    daemon
        .post("/hostgroup/w/nodes?wait=agent", r#"{"persistent":true}"#)
        .await;
    refused(daemon.post("/vm/w-2/relaunch", "").await, 409);
    refused(daemon.post("/vm/w-2/shutdown?action=dance", "").await, 400);
    assert_eq!(daemon.post("/vm/w-1/shutdown", "").await.0, 200);
    assert_eq!(
        daemon.post("/vm/w-2/shutdown?action=reboot", "").await.0,
        200
    );
    daemon
        .until(async || daemon.get("/vm/w-1/health").await.0 == 404)
        .await;
    daemon
        .until(async || daemon.get("/nodes").await.1[1]["status"] == "Stopped")
        .await;
    assert!(
        !daemon
            .machines
            .disks
            .lock()
            .unwrap()
            .contains(&"w-1".to_owned())
    );
    refused(daemon.post("/vm/w-2/exec?cmd=true", "").await, 400);
    let (status, vm) = daemon.post("/vm/w-2/relaunch?wait=agent", "").await;
    assert_eq!((status, &vm["hostname"]), (200, &json!("w-2")));
    refused(daemon.post("/vm/w-9/relaunch", "").await, 404);
}

/// Firecracker's process outlives a power-off: the VM stays, and answers nothing.
#[tokio::test]
async fn a_power_off_hangs_or_stops() {
    let daemon = daemon().await;
    daemon.post("/hostgroup/w/nodes?wait=agent", "{}").await;
    daemon.machines.ask("w-1", Ending::PowerOff).unwrap();
    daemon
        .until(async || daemon.get("/vm/w-1/health").await.0 == 500)
        .await;
    assert_eq!(
        daemon.get("/hostgroup/w/nodes").await.1[0]["status"],
        "Running"
    );
    assert_eq!(daemon.delete("/hostgroup/w/nodes/w-1").await.0, 200);
    let daemon = daemon_with(Variant::one("poweroff", "stops")).await;
    daemon.post("/hostgroup/w/nodes?wait=agent", "{}").await;
    daemon.machines.ask("w-1", Ending::PowerOff).unwrap();
    daemon
        .until(async || daemon.get("/vm/w-1/health").await.0 == 404)
        .await;
}

/// T-29: the daemon's restart removes ephemeral VMs, keeps persistent ones stopped, and launches fixed ones
/// on their old disk.
#[tokio::test]
async fn a_restart_keeps_what_persists() {
    let first = daemon().await;
    first.post("/hostgroup/w/nodes?wait=agent", "{}").await;
    first
        .post("/hostgroup/w/nodes?wait=agent", r#"{"persistent":true}"#)
        .await;
    let created = first.get("/vm/cp-1").await.1["created_at"].clone();
    first.fleet.stop().await.unwrap();
    assert_eq!(*first.machines.disks.lock().unwrap(), ["cp-1", "w-2"]);
    let second = daemon_in(first.directory.clone(), Variant::default()).await;
    let (_, nodes) = second.get("/nodes").await;
    let names: Vec<_> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|n| (n["hostname"].clone(), n["status"].clone()))
        .collect();
    assert_eq!(
        names,
        [
            (json!("cp-1"), json!("Running")),
            (json!("w-2"), json!("Stopped"))
        ]
    );
    assert_eq!(nodes[0]["created_at"], created);
}

/// A fixed VM whose disk is lost: a relaunch makes a new one, or is refused until the daemon's next start makes one.
/// Where the disk is there, nothing is refused.
#[tokio::test]
async fn a_lost_disk_is_replaced_by_a_relaunch_or_by_a_restart() {
    let stopped = async |daemon: &Daemon, lost: bool| {
        daemon.machines.ask("cp-1", Ending::Reboot).unwrap();
        daemon
            .until(async || daemon.get("/nodes").await.1[0]["status"] == "Stopped")
            .await;
        if lost {
            daemon.machines.discard("cp-1").await.unwrap();
        }
    };
    let daemon = daemon().await;
    stopped(&daemon, true).await;
    assert_eq!(daemon.post("/vm/cp-1/relaunch", "").await.0, 200);
    assert!(daemon.machines.has_disk("cp-1"));

    let refusing = || Variant::one("disk-lost", "refused");
    let first = daemon_with(refusing()).await;
    stopped(&first, false).await;
    assert_eq!(first.post("/vm/cp-1/relaunch", "").await.0, 200);
    stopped(&first, true).await;
    let answer = first.post("/vm/cp-1/relaunch", "").await;
    assert!(answer.1["error"].as_str().unwrap().contains("cp-1.img"));
    refused(answer, 500);
    assert_eq!(first.get("/nodes").await.1[0]["status"], "Stopped");
    assert!(!first.machines.has_disk("cp-1"));
    let address = first.get("/nodes").await.1[0]["ip"].clone();
    first.fleet.stop().await.unwrap();
    let second = daemon_in(first.directory.clone(), refusing()).await;
    assert!(second.machines.has_disk("cp-1"));
    assert_eq!(second.get("/nodes").await.1[0]["ip"], address);
}

/// Where the original would launch a fixed VM again after its guest's reboot, so does the variant.
#[tokio::test]
async fn a_fixed_vm_comes_back_or_not() {
    let daemon = daemon_with(Variant::one("fixed-reboot", "relaunched")).await;
    daemon.machines.ask("cp-1", Ending::Reboot).unwrap();
    daemon
        .until(async || daemon.get("/vm/cp-1/health").await.0 == 200)
        .await;
    let daemon = daemon_with(Variant::default()).await;
    daemon.machines.ask("cp-1", Ending::Reboot).unwrap();
    daemon
        .until(async || daemon.get("/nodes").await.1[0]["status"] == "Stopped")
        .await;
}

/// Tags filter lists, one filter at a time, and can be changed.
#[tokio::test]
async fn tags_filter() {
    let daemon = daemon().await;
    daemon
        .post("/hostgroup/w/nodes", r#"{"tags":["role=a"]}"#)
        .await;
    let count = async |path: &str| daemon.get(path).await.1.as_array().map(Vec::len);
    assert_eq!(count("/nodes?tag=role%3Da").await, Some(1));
    assert_eq!(count("/hostgroup/w/nodes?tag_prefix=role").await, Some(1));
    assert_eq!(count("/nodes?tag=role").await, Some(0));
    refused(daemon.get("/nodes?tag=a&tag_prefix=b").await, 400);
    let (_, tags) = daemon
        .call(
            Method::PATCH,
            "/vm/w-1/tags",
            r#"{"add":["x"],"remove":["role=a"]}"#,
        )
        .await;
    assert_eq!(tags, json!({"hostname": "w-1", "tags": ["x"]}));
    // Each tag once, and a replacement stands alone.
    let patch = async |body: &str| daemon.call(Method::PATCH, "/vm/w-1/tags", body).await;
    patch(r#"{"add":["y","x","y"]}"#).await;
    assert_eq!(
        daemon.get("/vm/w-1/tags").await.1["tags"],
        json!(["x", "y"])
    );
    refused(patch(r#"{"replace":["z"],"add":["a"]}"#).await, 400);
    refused(patch(r#"{"replace":[],"remove":["x"]}"#).await, 400);
    assert_eq!(patch(r#"{"replace":["z"]}"#).await.1["tags"], json!(["z"]));
    refused(daemon.get("/vm/x-1/tags").await, 404);
}
