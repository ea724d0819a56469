//! What is told of a cluster of which this or that does not hold.

use serde_json::{Value, json};

use super::*;
use crate::failure::{Code, Failure};
use crate::status::gather::{Cluster, Disk, NotSeen, StepSeen};
use crate::status::render;
use crate::step_id::StepName;
use crate::testing::plan;
use crate::vm::Vm;

mod certificates;
mod disks_and_scaling;
mod hosts;
mod remarks;
mod versions;

const MADE: &str = "2023-11-14T21:50:00Z";

fn host_facts(name: &str) -> HostFacts {
    let survey = "== arch\n x86_64\n== model\n Box\n== os\n Debian\n== cores\n 8\n== memory\n 33000000 kB\n\
                  == disk\n /dev/sda1 500000000 100000000 400000000 20% /\n== kvm\n yes\n== systemd\n yes\n\
                  == forwarding\n 1\n== addresses\n [{\"ifname\":\"eth0\",\"addr_info\":[{\"local\":\"192.168.1.11\",\"prefixlen\":24}]}]\n== routes\n []\n== interfaces\n eth0\n== ports\n\
                  == identity\n id\n boot\n== clock\n 1700000000\n== slicer\n Client: 0.1.71\n installed\n== end\n";
    HostFacts::parse(name, survey).unwrap()
}

fn vm(name: &str) -> Vm {
    serde_json::from_value(json!({"hostname": name, "created_at": MADE})).unwrap()
}

fn node(name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "status": {
            "nodeInfo": {"kubeletVersion": "v1.34.4+k3s1"},
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": MADE},
                {"type": "EtcdIsVoter", "status": "True"},
            ],
        },
    })
}

/// A step that found this.
fn step(name: StepName, subject: &str, found: crate::failure::Result<Finding>) -> StepSeen {
    StepSeen {
        id: name.on(subject),
        builds_on: Vec::new(),
        hint: "look at it".into(),
        found,
    }
}

/// A server's disk with this much free, in GB.
fn disk(free: u64) -> Disk {
    Disk {
        size: 25_000_000_000,
        free: free * 1_000_000_000,
    }
}

/// Everything as it should be, with one agent.
fn healthy() -> Observed {
    let servers = ["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"];
    let mut nodes: Vec<Value> = servers.iter().map(|name| node(name, &json!({}))).collect();
    let labels = json!({"slicer/hostgroup": "k3s-agents-1", "slicer/hostname": "k3s-agents-1-1"});
    nodes.push(node("k3s-agents-1-1-00ff00ff", &labels));
    Observed {
        control_plane: Ok(crate::control_plane::ControlPlane::default()),
        versions: Ok(crate::control_plane::Versions::default()),
        hosts: ["n100", "ryzen"]
            .map(|name| (name.to_owned(), Ok(host_facts(name))))
            .to_vec(),
        groups: vec![
            ("k3s-cp".into(), Ok(servers.map(vm).to_vec())),
            ("k3s-agents-1".into(), Ok(vec![vm("k3s-agents-1-1")])),
            ("k3s-agents-2".into(), Ok(Vec::new())),
        ],
        servers: servers.map(|name| (name.to_owned(), Ok(()))).to_vec(),
        disks: servers.map(|name| (name.to_owned(), disk(9))).to_vec(),
        cluster: Ok(Cluster {
            nodes,
            pending: Vec::new(),
            autoscaler: Some(true),
            scaled: vec!["k3s-agents-1".into(), "k3s-agents-2".into()],
            certificates: Vec::new(),
            clock: Some(1_700_000_000),
        }),
        steps: Vec::new(),
        elsewhere: None,
        mistakes: Vec::new(),
        rotation: None,
        planned: Ok(plan()),
    }
}

const PAGE: &str = include_str!("../../../docs/status.md");
const STEPS: &str = include_str!("../../../docs/troubleshooting.md");

fn told(seen: &Observed) -> Vec<(String, String)> {
    let status = compare(&plan(), seen);
    let text = render(&status);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    for drift in &status.drift {
        let row = PAGE.contains(&format!("\n| `{}` |", drift.kind));
        let heading = STEPS.contains(&format!("\n## {}\n", drift.kind));
        assert!(row || heading, "{} is on no page", drift.kind);
    }
    status
        .drift
        .into_iter()
        .map(|drift| (drift.kind, drift.machine))
        .collect()
}

fn one(kind: &str, machine: &str) -> Vec<(String, String)> {
    vec![(kind.to_owned(), machine.to_owned())]
}

#[test]
fn a_healthy_cluster_has_no_drift() {
    let seen = healthy();
    assert_eq!(told(&seen), []);
    insta::assert_snapshot!(render(&compare(&plan(), &seen)));
}

/// The contract of `--output json`.
#[test]
fn the_document_keeps_its_fields() {
    let mut seen = healthy();
    let why = Finding::differs("no route to 192.168.138.0/24 via 192.168.1.12");
    seen.steps.push(step(StepName::Routes, "n100", Ok(why)));
    seen.mistakes = mistakes();
    over_max(&mut seen, "2023-11-14T22:12:00Z");
    let document = serde_json::to_string_pretty(&compare(&plan(), &seen)).unwrap();
    for field in document
        .split('"')
        .filter(|part| document.contains(&format!("\"{part}\": ")))
    {
        assert!(PAGE.contains(&format!("`{field}`")), "{field}");
    }
    insta::assert_snapshot!(document);
}

#[test]
fn vms_and_nodes_that_do_not_match_are_told() {
    let mut ghost = healthy();
    ghost.groups[1].1 = Ok(Vec::new());
    assert_eq!(
        told(&ghost),
        one("node-without-vm", "k3s-agents-1-1-00ff00ff")
    );

    let mut stray = healthy();
    stray.groups[2].1 = Ok(vec![vm("k3s-agents-2-1")]);
    assert_eq!(told(&stray), one("vm-without-node", "k3s-agents-2-1"));
    assert_eq!(compare(&plan(), &stray).drift[0].mend, "slicer-k3s init");
    // `init` deletes nothing of which it does not know that it had the time to join.
    if let Ok(vms) = &mut stray.groups[2].1 {
        vms[0].created_at = None;
    }
    let mend = &compare(&plan(), &stray).drift[0].mend;
    assert!(
        mend.contains("slicer vm delete k3s-agents-2-1 k3s-agents-2 --url http://127.0.0.1:8082")
    );
    // A server that has just come back lets those join that waited for it.
    let mut waited = healthy();
    waited.groups[2].1 = Ok(vec![vm("k3s-agents-2-1")]);
    if let Ok(cluster) = &mut waited.cluster {
        cluster.nodes[0]["status"]["conditions"][0]["lastTransitionTime"] =
            json!("2023-11-14T22:12:00Z");
    }
    assert_eq!(told(&waited), []);
    // By their own clock, whatever their host's says.
    let mut behind = healthy();
    behind.groups[2].1 = Ok(vec![vm("k3s-agents-2-1")]);
    if let Ok(cluster) = &mut behind.cluster {
        cluster.clock = crate::time::unix(MADE).map(|made| made + 100);
    }
    assert_eq!(told(&behind), []);

    // Made just now: it is joining.
    let mut young = healthy();
    let mut joining = vm("k3s-agents-2-1");
    joining.created_at = Some("2023-11-14T22:12:00Z".into());
    young.groups[2].1 = Ok(vec![joining]);
    assert_eq!(told(&young), []);
    // So is the one whose Node is there and not Ready yet.
    let mut unready = healthy();
    if let Ok(cluster) = &mut unready.cluster {
        cluster.nodes[3]["status"]["conditions"][0]["status"] = json!("False");
    }
    assert_eq!(told(&unready)[0].0, "node-not-ready");
    if let Ok(vms) = &mut unready.groups[1].1 {
        vms[0].created_at = Some("2023-11-14T22:12:00Z".into());
    }
    assert_eq!(told(&unready), []);
}

#[test]
fn servers_are_told_by_their_first_cause() {
    let mut stopped = healthy();
    if let Ok(vms) = &mut stopped.groups[0].1 {
        vms[1].status = Some("Stopped".into());
    }
    stopped.servers[1].1 = Err("cannot connect".into());
    assert_eq!(told(&stopped), one("server-vm", "k3s-cp-2"));

    let mut unready = healthy();
    unready.servers[1].1 = Err("etcd failed".into());
    let mut follows = step(
        StepName::GroupReachable,
        "k3s-agents-1",
        Err(Failure::new(Code::Route, "cannot ask k3s-cp-2")),
    );
    follows.builds_on = vec![StepName::VmReachable.on("k3s-cp-2")];
    unready.steps.push(follows);
    assert_eq!(told(&unready), one("server-api", "k3s-cp-2"));

    let mut learner = healthy();
    if let Ok(cluster) = &mut learner.cluster {
        cluster.nodes[2]["status"]["conditions"][1]["status"] = json!("False");
    }
    assert_eq!(told(&learner), one("etcd-voter", "k3s-cp-3"));
}

/// A pod waits while an agent comes: only what takes longer is told.
#[test]
fn pods_that_wait_long_are_told_with_kubernetes_own_reason() {
    let pod = |name: &str, since: &str| {
        json!({
            "metadata": {"namespace": "default", "name": name, "creationTimestamp": since},
            "status": {"conditions": [{"type": "PodScheduled", "message": "0/4 nodes are available"}]},
        })
    };
    let mut seen = healthy();
    let mut wait = |since| {
        if let Ok(cluster) = &mut seen.cluster {
            cluster.pending.push(pod("web", since));
        }
        told(&seen)
    };
    assert_eq!(wait("2023-11-14T22:12:00Z"), []);
    assert_eq!(wait("2023-11-14T22:00:20Z"), one("pods-pending", "cluster"));
    assert_eq!(wait("2023-11-14T22:01:20Z"), one("pods-pending", "cluster"));
    let drift = compare(&plan(), &seen).drift.remove(0);
    assert_eq!(
        drift.what,
        "pod default/web (and 1 more) has waited for 13 min: 0/4 nodes are available"
    );
    assert_eq!(drift.mend, "slicer-k3s kubectl describe pod -n default web");
}

/// With Kubernetes silent the rest is told all the same.
#[test]
fn a_part_that_does_not_answer_hides_nothing_else() {
    let mut seen = healthy();
    seen.cluster = Err("no server's API is ready".into());
    for (_, ready) in &mut seen.servers {
        *ready = Err("connection refused".into());
    }
    seen.steps.push(step(
        StepName::Routes,
        "n100",
        Ok(Finding::differs("no route")),
    ));
    seen.steps.push(step(
        StepName::CloudConfig,
        "cluster",
        Err(Failure::new(Code::Kubernetes, "no answer")),
    ));
    let kinds: Vec<String> = told(&seen).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["server-api", "server-api", "server-api", "routes"]);
}

/// Names as long as they may be, and text from machines that wants to steer the terminal.
#[test]
fn long_names_fit_and_nothing_raw_gets_through() {
    let mut seen = healthy();
    let long = "x".repeat(63);
    let labels = json!({"slicer/hostgroup": "\u{1b}[2J", "slicer/hostname": long});
    if let Ok(cluster) = &mut seen.cluster {
        cluster.nodes.push(node(&long, &labels));
    }
    seen.hosts[0].0 = long.clone();
    seen.steps.push(step(
        StepName::Routes,
        "n100",
        Ok(Finding::differs("\u{1b}[31mred")),
    ));
    told(&seen);
    let text = render(&compare(&plan(), &seen));
    assert!(!text.contains('\u{1b}'));
}

/// A second person's host made all of the first one's routes look wrong, and `init`, which was to mend them, refused.
#[test]
fn where_somebody_else_acted_nothing_is_judged_by_the_older_record() {
    let mut seen = healthy();
    let wrong = Ok(Finding::differs("routes.d/home has other content"));
    seen.steps = vec![step(StepName::Routes, "n100", wrong)];
    assert_eq!(told(&seen), one("routes", "n100"));
    seen.elsewhere = Some(Failure::new(
        Code::RecordConflict,
        "home was changed from elsewhere",
    ));
    assert_eq!(told(&seen), one("elsewhere", "cluster"));
}

/// Both tokens may be in use until it ends, and `init` does not say so where the servers are well.
#[test]
fn a_rotation_that_did_not_end_is_reported() {
    let mut seen = healthy();
    seen.rotation = Some("slicer-k3s rotate-token".into());
    assert_eq!(told(&seen), one("token-rotation", "cluster"));
}

fn mistakes() -> Vec<crate::config::Problem> {
    crate::config::parse(
        "name = \"home\"\nnmae = 1\n[hosts.a]\nssh = \"a\"\n",
        "cluster.toml",
    )
    .unwrap_err()
}

/// Five VMs of ryzen's group, whose max is 4; the last was made at this time. All have Nodes.
fn over_max(seen: &mut Observed, made: &str) {
    let names: Vec<String> = (1..=5).map(|n| format!("k3s-agents-1-{n}")).collect();
    let mut vms: Vec<Vm> = names.iter().map(|name| vm(name)).collect();
    vms[4].created_at = Some(made.into());
    seen.groups[1].1 = Ok(vms);
    if let Ok(cluster) = &mut seen.cluster {
        cluster.nodes.truncate(3);
        for name in &names {
            let labels = json!({"slicer/hostgroup": "k3s-agents-1", "slicer/hostname": name});
            cluster
                .nodes
                .push(node(&format!("{name}-00ff00ff"), &labels));
        }
    }
}
