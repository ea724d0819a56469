use super::*;
use crate::testing::{Fake, permit, plan, world};

const MADE: &str = "1970-01-01T00:00:00Z";

fn node(name: &str, vm: &str, ready: &str, more: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","creationTimestamp":"{MADE}","labels":{{"slicer/hostname":"{vm}"{more}}}}},"status":{{"conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#
    )
}

fn settled(daemon: &Daemon) -> AgentsSettled {
    AgentsSettled::new(&plan(), daemon, &crate::testing::options())
}

/// A server with these Nodes at 900 s, and a host with these VMs.
fn fleet(nodes: &[String], vms: &str) -> (Fake, Fake) {
    let server = Fake::new()
        .says(
            "/nodes",
            &format!(
                r#"{{"kind":"List","metadata":{{}},"items":[{}]}}"#,
                nodes.join(",")
            ),
        )
        .says("date -d", "900\n")
        .says("deployment", "{}");
    let host = Fake::new()
        .says("auth/token", "t0ken\n")
        .says("date -d", "900\n")
        .says("GET /hostgroup/k3s-agents-1/nodes", vms)
        .says("DELETE /", "");
    (server, host)
}

fn deleted(server: &Fake) -> Vec<String> {
    let told = server.told().into_iter().map(|(command, _)| command);
    let words = "--wait=false node ";
    let deletes = told.filter_map(|command| Some(command.split_once(words)?.1.to_owned()));
    deletes
        .map(|rest| rest.trim_end_matches('\'').to_owned())
        .collect()
}

/// A person's cordon stays; so does a Node whose VM is only not Ready.
#[tokio::test(start_paused = true)]
async fn ghosts_go_by_a_second_list_and_what_our_drain_closed_is_opened() {
    let drained = format!(r#","{DRAINED}":"true""#);
    let nodes = [
        node("works", "a-1", "True", ""),
        node("tired", "a-2", "Unknown", ""),
        node("ghost", "a-9", "Unknown", ""),
        node("before", "a-1", "Unknown", ""),
        node("closed", "a-3", "True", &drained),
    ];
    let vms = r#"[{"hostname":"a-1"},{"hostname":"a-2"},{"hostname":"a-3"}]"#;
    let (server, host) = fleet(&nodes, vms);
    let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
    let step = settled(&plan().daemons[1]);
    let found = step.check(&world, Phase::Before).await.unwrap();
    assert_eq!(
        found,
        Finding::differs("Node closed was drained and is still there")
    );
    step.apply(&world, &permit()).await.unwrap();
    assert!(server.was_told("uncordon closed"));
    assert!(server.was_told("systemctl stop slicer-k3s-drain-k3s-agents-1.service"));
    assert!(deleted(&server).is_empty(), "one list was enough");
    tokio::time::advance(deletion::APART).await;
    step.apply(&world, &permit()).await.unwrap();
    assert_eq!(deleted(&server), ["ghost", "before"]);
    // It would wait for the ghosts to come for ever.
    assert!(server.was_told("rollout restart"));
}

/// A daemon that had just started answered with an empty list: all Nodes of its group went, with all pods. Whether Slicer says `[]`
/// or `null` then is not documented.
#[tokio::test(start_paused = true)]
async fn half_a_group_goes_at_a_time_by_lists_that_are_empty_or_null() {
    let nodes = ["a-1", "a-2", "a-3", "a-4"].map(|vm| node(vm, vm, "True", ""));
    for vms in ["[]", "null"] {
        let (server, host) = fleet(&nodes, vms);
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let step = settled(&plan().daemons[1]);
        let found = step.check(&world, Phase::Before).await.unwrap();
        let waits = "Node a-1 has no VM; it goes if a list in 10 s says so, too";
        assert_eq!(found, Finding::Unknown(waits.into()), "{vms}");
        tokio::time::advance(deletion::APART).await;
        step.apply(&world, &permit()).await.unwrap();
        step.apply(&world, &permit()).await.unwrap();
        assert_eq!(deleted(&server).len(), 2, "{vms}");
        assert!(step.meta().reapply);
    }
}

/// A person who names a host or its agents has no list to confirm, unless it may be none; a body that is missing or cut confirms
/// nothing for anyone.
#[tokio::test(start_paused = true)]
async fn a_named_groups_ghosts_go_at_once_unless_it_is_in_doubt_whether_there_is_a_list() {
    let nodes = ["a-1", "a-2", "a-3", "a-4"].map(|vm| node(vm, vm, "True", ""));
    let cut = r#"[{"hostname":"a-1""#;
    for (vms, at_once, later) in [("[]", 4, 4), ("null", 0, 2), ("", 0, 0), (cut, 0, 0)] {
        let (server, host) = fleet(&nodes, vms);
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let step = settled(&plan().daemons[1]).named();
        let done = step.apply(&world, &permit()).await;
        assert_eq!(done.is_ok(), later > 0, "{vms}");
        assert_eq!(deleted(&server).len(), at_once, "{vms}");
        if later > at_once {
            tokio::time::advance(deletion::APART).await;
            step.apply(&world, &permit()).await.unwrap();
        }
        assert_eq!(deleted(&server).len(), later, "{vms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_young_node_is_waited_for() {
    let young = node("n", "a-1", "True", "").replace(MADE, "1970-01-01T00:14:00Z");
    let (server, host) = fleet(&[young], "[]");
    let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
    let step = settled(&plan().daemons[1]);
    let found = step.check(&world, Phase::Before).await.unwrap();
    assert!(
        matches!(&found, Finding::Unknown(why) if why.contains("300 s old")),
        "{found:?}"
    );
    tokio::time::advance(deletion::APART).await;
    step.apply(&world, &permit()).await.unwrap();
    assert!(deleted(&server).is_empty());
}

const READY: &str = r#"{"metadata":{"name":"k3s-cp-1"},"status":{"conditions":[{"type":"Ready","status":"True","lastTransitionTime":"1970-01-01T00:00:00Z"}]}}"#;

/// What a second look finds where a group has these VMs, all Nodes are these, these are the volumes, and the time is 900 s.
async fn strays(daemon: &Daemon, vms: &str, all: &str, volumes: &str) -> (Result<Finding>, Fake) {
    let server = Fake::new()
        .says(
            "hostgroup%3Dk3s-agents-1",
            r#"{"kind":"List","metadata":{},"items":[]}"#,
        )
        .says("/persistentvolumes?", volumes)
        .says("/nodes", all)
        .says("date -d", "900\n")
        .says("deployment", "{}");
    let host = Fake::new()
        .says("auth/token", "t0ken\n")
        .says("date -d", "900\n")
        .says("GET /hostgroup/k3s-agents-1/nodes", vms)
        .says("DELETE /", "");
    let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
    let step = settled(daemon);
    let _ = step.check(&world, Phase::After).await;
    tokio::time::advance(deletion::APART).await;
    let found = step.check(&world, Phase::After).await;
    // Whatever it found, a change keeps to the same rules.
    let _ = step.apply(&world, &permit()).await;
    (found, host)
}

fn of(name: &str, made: &str) -> String {
    format!(r#"[{{"hostname":"{name}","ip":"192.168.138.2","created_at":"{made}"}}]"#)
}

const NONE: &str = r#"{"kind":"List","metadata":{},"items":[]}"#;

/// The autoscaler deleted its Node while the group's API was silent, and never came back to the VM.
#[tokio::test(start_paused = true)]
async fn a_vm_that_had_the_time_to_join_and_has_no_node_goes() {
    let old = of("k3s-agents-1-2", "1970-01-01T00:00:00Z");
    let all = format!(r#"{{"kind":"List","metadata":{{}},"items":[{READY}]}}"#);
    let (found, host) = strays(&plan().daemons[1], &old, &all, NONE).await;
    assert_eq!(
        found.unwrap(),
        Finding::differs("VM k3s-agents-1-2 has no Node")
    );
    assert!(host.was_told("DELETE /hostgroup/k3s-agents-1/nodes/k3s-agents-1-2"));
}

/// A claim's data went with a VM that had lost its Node, and no one was asked.
#[tokio::test(start_paused = true)]
async fn a_vm_on_which_a_claim_has_its_data_is_kept() {
    let old = of("k3s-agents-1-2", "1970-01-01T00:00:00Z");
    let all = format!(r#"{{"kind":"List","metadata":{{}},"items":[{READY}]}}"#);
    let volumes = r#"{"kind":"List","metadata":{},"items":[{"spec":{"local":{"path":"/x"},"claimRef":{"namespace":"default","name":"precious"},
        "nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In",
        "values":["k3s-agents-1-2-00ff00ff"]}]}]}}}}]}"#;
    let (_, host) = strays(&plan().daemons[1], &old, &all, volumes).await;
    assert!(!host.was_told("DELETE"));
    let (_, host) = strays(&plan().daemons[1], &old, &all, "").await;
    assert!(!host.was_told("DELETE"), "the list of volumes did not come");
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_kept_where_anything_is_in_doubt() {
    let daemon = plan().daemons[1].clone();
    let adopted = Daemon {
        adopted: Some(crate::testing::adopted(&daemon)),
        ..daemon.clone()
    };
    let old = of("k3s-agents-1-2", "1970-01-01T00:00:00Z");
    let all = format!(r#"{{"kind":"List","metadata":{{}},"items":[{READY}]}}"#);
    let unlabelled = format!(
        r#"{{"kind":"List","metadata":{{}},"items":[{READY},{{"metadata":{{"name":"k3s-agents-1-2-00ff00ff"}}}}]}}"#
    );
    let part = format!(r#"{{"kind":"List","metadata":{{"continue":"x"}},"items":[{READY}]}}"#);
    let back = all.replace("00:00:00Z", "00:14:00Z");
    let unknown = old.replace(r#","created_at":"1970-01-01T00:00:00Z""#, "");
    for (why, daemon, vms, all) in [
        (
            "it is joining",
            &daemon,
            &of("k3s-agents-1-2", "1970-01-01T00:11:00Z"),
            &all,
        ),
        ("no one knows its age", &daemon, &unknown, &all),
        ("its Node lost its labels", &daemon, &old, &unlabelled),
        ("the list goes on", &daemon, &old, &part),
        ("no list came", &daemon, &old, &String::new()),
        ("a server has just come back", &daemon, &old, &back),
        (
            "no server is Ready",
            &daemon,
            &old,
            &all.replace("True", "False"),
        ),
        (
            "no Node is listed",
            &daemon,
            &old,
            &r#"{"kind":"List","metadata":{},"items":[]}"#.to_owned(),
        ),
        (
            "someone else named it",
            &daemon,
            &of("mine", "1970-01-01T00:00:00Z"),
            &all,
        ),
        ("someone else set the daemon up", &adopted, &old, &all),
    ] {
        let (found, host) = strays(daemon, vms, all, NONE).await;
        assert!(!matches!(found, Ok(Finding::Differs(_))), "{why}");
        assert!(!host.was_told("DELETE"), "{why}");
    }
}
