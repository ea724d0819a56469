use std::sync::Arc;

use super::*;
use crate::testing::{Fake, Hangs, machine, plan, secrets, shared, world};

/// A bound volume on this Node's disk, as the local-path-provisioner makes it.
fn volumes(node: &str) -> String {
    format!(
        r#"{{"kind":"List","metadata":{{}},"items":[{{"spec":{{"hostPath":{{"path":"/x"}},"claimRef":{{"namespace":"default","name":"precious"}},
        "nodeAffinity":{{"required":{{"nodeSelectorTerms":[{{"matchExpressions":[{{"key":"kubernetes.io/hostname","operator":"In","values":["{node}"]}}]}}]}}}}}},
        "status":{{"phase":"Bound"}}}}]}}"#
    )
}

const NODES: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n","labels":{"slicer/hostgroup":"k3s-agents-1","kubernetes.io/hostname":"n.lan"}}}]}"#;

fn founded() -> crate::plan::Founded {
    crate::plan::Founded {
        ca: "f00".into(),
        voters: BTreeSet::new(),
    }
}

fn server(node: &str) -> Fake {
    Fake::new()
        .says("/persistentvolumes?", &volumes(node))
        .says("/nodes", NODES)
}

#[tokio::test]
async fn claims_of_a_group_are_named_by_its_nodes_and_refused_without_the_flag() {
    for (node, lost) in [
        ("n", true),
        ("n.lan", true),
        ("k3s-agents-1-4-00ff00ff", true),
        ("k3s-agents-10-4-00ff00ff", false),
        ("k3s-cp-1", false),
    ] {
        let world = world(&[("k3s-cp-1", &server(node))]);
        let stake = of_groups(&world, &["k3s-agents-1"]).await;
        let named = stake
            .told()
            .contains(&format!("default/precious on {node}"));
        assert_eq!(named, lost, "{node}");
        assert_eq!(stake.permitted(false).is_err(), lost, "{node}");
        assert!(stake.permitted(true).is_ok());
    }
    let world = world(&[("k3s-cp-1", &server("n"))]);
    let stake = of_groups(&world, &["k3s-agents-1"]).await;
    let failure = stake.permitted(false).unwrap_err();
    assert_eq!(failure.code, Code::LocalData);
    assert!(failure.hint.unwrap().contains(FLAG));
}

/// No answer is no proof that nothing is there; a group without VMs has nothing to lose.
#[tokio::test]
async fn a_list_that_did_not_come_is_not_an_empty_one() {
    for (vms, refused) in [
        (r#"[{"hostname":"a-1"}]"#, true),
        // It may be no list at all.
        ("null", true),
        ("[]", false),
        ("", true),
    ] {
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("GET /hostgroup/k3s-agents-1/nodes", vms);
        let server = Fake::new()
            .says("/persistentvolumes?", "")
            .says("/nodes", NODES);
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let stake = of_groups(&world, &["k3s-agents-1"]).await;
        assert_eq!(stake.permitted(false).is_err(), refused, "{vms}");
        assert_eq!(!stake.told().is_empty(), refused, "{vms}");
    }
}

/// `init` ends agents only by restarts that were allowed and are due.
#[tokio::test]
async fn init_names_the_claims_of_agents_whose_daemon_is_about_to_restart() {
    let daemon = plan().daemons[1].clone();
    let yaml = crate::steps::daemon::config::host_yaml(&world(&[]), &daemon).unwrap();
    let current = crate::secret::sha256(yaml.content.as_bytes());
    for (process, allowed, lost) in [
        ("0ld", true, true),
        ("0ld", false, false),
        (current.as_str(), true, false),
    ] {
        let host = Fake::new()
            .says("ActiveState", "ActiveState=active\nSubState=running\n")
            .says("environ", process);
        let server = server("n");
        let mut world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        world.plan.daemons.truncate(2);
        world.plan.founded = Some(founded());
        let options = Options {
            allow_outage: allowed,
            ..crate::testing::options()
        };
        let stake = of_init(&world, &options, &ControlPlane::default()).await;
        assert_eq!(stake.permitted(false).is_err(), lost, "{process} {allowed}");
        // A cluster that was never made has nothing to lose, and is not asked.
        world.plan.founded = None;
        let stake = of_init(&world, &options, &ControlPlane::default()).await;
        assert_eq!(stake, Stake::default());
    }
}

/// A daemon that serves servers and agents restarts to make a server's disk, too: its agents ended with data that nobody was shown.
#[tokio::test]
async fn init_names_the_claims_of_agents_whose_daemon_may_restart_for_a_servers_disk() {
    for (plan, lost_disk, allowed, lost) in [
        (shared(), "k3s-cp-1", true, true),
        (shared(), "k3s-cp-1", false, false),
        (shared(), "", true, false),
        (plan(), "k3s-cp-1", true, false),
    ] {
        let daemon = plan.daemons[0].clone();
        let mut world = world(&[]);
        world.plan = plan.clone();
        let yaml = crate::steps::daemon::config::host_yaml(&world, &daemon).unwrap();
        let host = Fake::new()
            .says("ActiveState", "ActiveState=inactive\nSubState=dead\n")
            .says("environ", &crate::secret::sha256(yaml.content.as_bytes()));
        let server = server("k3s-agents-2-4-00ff00ff");
        let mut world = crate::testing::world(&[("k3s-cp-2", &server), ("n100", &host)]);
        world.plan = plan;
        world.plan.founded = Some(founded());
        let options = Options {
            allow_outage: allowed,
            ..crate::testing::options()
        };
        let control_plane = ControlPlane {
            without_disk: vec![lost_disk.into()],
            ..ControlPlane::default()
        };
        let stake = of_init(&world, &options, &control_plane).await;
        assert_eq!(
            stake.permitted(false).is_err(),
            lost,
            "{lost_disk} {allowed}"
        );
        assert_eq!(stake.told().contains("default/precious"), lost);
    }
}

/// A host that was busy for a moment was taken for one whose daemon stays, and the daemon restarted a minute later.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_cannot_be_asked_now_may_restart_all_the_same() {
    for (node, allowed, told) in [
        ("n", true, true),
        ("n", false, false),
        // Nothing lies on its agents' disks.
        ("k3s-cp-1", true, false),
    ] {
        let hangs =
            crate::remote::Machine::new("ryzen", Box::new(Hangs), crate::remote::Sudo::Root);
        let hosts = HashMap::from([("ryzen".to_owned(), Arc::new(hangs))]);
        let mut world = World::new(plan(), secrets(), hosts);
        world.put_server("k3s-cp-1", Arc::new(machine("k3s-cp-1", server(node))));
        world.plan.founded = Some(founded());
        let options = Options {
            allow_outage: allowed,
            ..crate::testing::options()
        };
        let stake = of_init(&world, &options, &ControlPlane::default()).await;
        assert_eq!(stake.permitted(false).is_err(), told, "{node} {allowed}");
        let text = stake.told();
        for words in [
            "whether slicer-k3s-agents-1.service on ryzen restarts",
            "default/precious on n",
        ] {
            assert_eq!(text.contains(words), told, "{text}");
        }
    }
}

/// A claim outlives its agent that the autoscaler removed: such data was named as if it could still be lost.
#[tokio::test]
async fn a_claim_of_a_vm_that_its_daemon_does_not_have_any_more_is_not_named() {
    for (vms, named) in [
        (r#"[{"hostname":"k3s-agents-1-5"}]"#, false),
        ("[]", false),
        (r#"[{"hostname":"k3s-agents-1-4"}]"#, true),
        // No list, or none that is certain.
        ("null", true),
        ("", true),
    ] {
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("GET /hostgroup/k3s-agents-1/nodes", vms);
        let server = server("k3s-agents-1-4-00ff00ff");
        let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
        let stake = of_groups(&world, &["k3s-agents-1"]).await;
        assert_eq!(stake.permitted(false).is_err(), named, "{vms}");
    }
}

/// `prove` and `add-host` have no flag for it, and the words told people to give them one.
#[tokio::test]
async fn where_a_vm_that_never_joined_is_kept_the_words_name_a_command_that_has_the_flag() {
    let server = server("k3s-agents-1-4");
    let world = world(&[("k3s-cp-1", &server)]);
    let kubernetes = world.kubernetes().await.unwrap();
    let vms = BTreeSet::from(["k3s-agents-1-4".to_owned()]);
    let kept = spare(&kubernetes, "k3s-agents-1", &vms).await.unwrap_err();
    assert_eq!(kept.code, Code::LocalData);
    let hint = kept.hint.unwrap();
    assert!(
        hint.contains("slicer-k3s init --delete-local-data"),
        "{hint}"
    );
}

/// A volume that says by a label where it lies went unnamed.
#[tokio::test]
async fn a_volume_that_goes_by_a_label_of_such_a_node_is_named_as_one_that_may_be_there() {
    let volumes = volumes("attic").replace("kubernetes.io/hostname", "zone");
    for (zone, told) in [("attic", true), ("cellar", false)] {
        let zone = format!(r#""labels":{{"zone":"{zone}","#);
        let server = Fake::new()
            .says("/persistentvolumes?", &volumes)
            .says("/nodes", &NODES.replace(r#""labels":{"#, &zone));
        let world = world(&[("k3s-cp-1", &server)]);
        let stake = of_groups(&world, &["k3s-agents-1"]).await;
        assert_eq!(stake.told().contains("default/precious (perhaps"), told);
        assert_eq!(stake.permitted(false).is_err(), told);
    }
}
