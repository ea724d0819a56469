use super::*;
use crate::kubernetes::testing::Api;
use crate::testing::{Fake, permit, world};

fn step(force: bool) -> NodesDrained {
    let limit = Duration::from_mins(5);
    let drain = Drain { limit, force };
    NodesDrained::new("k3s-agents-1", drain, &[])
}

fn cluster(unit: &str) -> Fake {
    let pod = |name: &str, more: &str| {
        format!(r#"{{"metadata":{{"name":"{name}","namespace":"default"{more}}}}}"#)
    };
    let list = |items: &str| format!(r#"{{"kind":"List","metadata":{{}},"items":[{items}]}}"#);
    let daemon = pod("log", r#","ownerReferences":[{"kind":"DaemonSet"}]"#);
    Fake::new()
        .says("unschedulable%3Dfalse", &list(""))
        .says("/nodes?", &list(r#"{"metadata":{"name":"n"}}"#))
        .says("/pods?", &list(&format!("{},{daemon}", pod("web", ""))))
        .says("ActiveState", unit)
        .says(
            "journalctl",
            "Cannot evict pod as it would violate the pod's disruption budget.\n",
        )
}

/// Every pod of the cluster was asked for each half second; from some 300 on the answer was cut, and no host could leave.
#[tokio::test]
async fn a_drain_in_a_large_cluster_asks_for_the_groups_own_pods() {
    let plan = crate::testing::plan();
    let of = |drained: usize, pods: usize| {
        let api = Api::new("k3s-agents-1", 255, drained, pods, 10_000);
        let world = World::new(plan.clone(), crate::testing::secrets(), [].into());
        world.put_server("k3s-cp-1", api.machine("k3s-cp-1"));
        (api, world)
    };
    let (api, full) = of(255, 20_000);
    let found = step(false).check(&full, Phase::Before).await.unwrap();
    let expected = "20000 pods are left, default/p-0 one of them";
    assert_eq!(found, Finding::differs(expected));
    let of_all = |url: &str| url.contains("/pods") && !url.contains("spec.nodeName");
    assert!(
        api.asked()
            .iter()
            .all(|one| !of_all(&one.url) && one.bytes < 1_000_000)
    );
    let (_, empty) = of(255, 0);
    let found = step(false).check(&empty, Phase::Before).await.unwrap();
    assert_eq!(found, Finding::Done("255 nodes".into()));
    let (_, open) = of(254, 0);
    let found = step(false).check(&open, Phase::Before).await.unwrap();
    assert_eq!(found, Finding::differs("1 nodes still take pods"));
}

/// Each was "no nodes": the daemon went with all that ran on it.
#[tokio::test]
async fn an_answer_that_did_not_come_is_not_a_drained_group() {
    for answer in ["", "{}", crate::testing::NOT_FOUND] {
        for part in ["/nodes?", "/pods?"] {
            let fake = Fake::new().says(part, answer);
            let fake = fake.says(
                "/nodes?",
                r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n"}}]}"#,
            );
            let found = step(false)
                .check(&world(&[("k3s-cp-1", &fake)]), Phase::Before)
                .await;
            assert!(
                !matches!(found, Ok(Finding::Done(_))),
                "{part} {answer}: {found:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_holds_a_drain_up_is_told_and_ends_the_wait_when_it_gave_up() {
    let running = cluster("ActiveState=active\nSubState=running\n");
    let found = step(false)
        .check(&world(&[("k3s-cp-1", &running)]), Phase::Before)
        .await
        .unwrap();
    assert!(
        matches!(&found, Finding::Unknown(why) if why.contains("1 pods are left, default/web") && why.contains("disruption budget")),
        "{found:?}"
    );
    let over = cluster("ActiveState=inactive\n");
    let world = world(&[("k3s-cp-1", &over)]);
    let step = step(false);
    assert!(matches!(
        step.check(&world, Phase::Before).await.unwrap(),
        Finding::Differs(_)
    ));
    step.apply(&world, &permit()).await.unwrap();
    assert!(!over.was_told("--disable-eviction"));
    assert!(
        step.check(&world, Phase::After)
            .await
            .unwrap_err()
            .is_permanent()
    );
}

/// Evictions went on for as long as the drain may take, unseen by anyone, while the next run opened the nodes again.
#[tokio::test]
async fn a_run_that_is_stopped_takes_its_drain_with_it() {
    for (status, says) in [(0, "was stopped"), (1, "goes on on k3s-cp-1")] {
        let fake = Fake::new().answers("is-active", status, "");
        let world = world(&[("k3s-cp-1", &fake)]);
        let step = step(false);
        assert_eq!(
            step.cancel(&world, &permit()).await,
            None,
            "it was not begun"
        );
        step.apply(&world, &permit()).await.unwrap();
        assert!(fake.was_told("RuntimeMaxSec=335"));
        let said = step.cancel(&world, &permit()).await.unwrap();
        assert!(said.contains(says), "{said}");
        assert!(fake.was_told("systemctl stop slicer-k3s-drain-k3s-agents-1.service"));
    }
}

/// Another run had begun the drain on another server, and it went on there, with its own flags.
#[tokio::test]
async fn a_drain_that_another_run_left_on_another_server_ends() {
    let (first, second) = (Fake::new(), Fake::new());
    let world = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &second)]);
    step(false).apply(&world, &permit()).await.unwrap();
    assert!(first.was_told("systemd-run") && !second.was_told("systemd-run"));
    assert!(second.was_told("systemctl stop slicer-k3s-drain-k3s-agents-1.service"));
}

/// The server that is asked may change in mid-drain; the unit stays where it is, and was taken for one that gave up.
#[tokio::test(start_paused = true)]
async fn a_drain_is_looked_for_where_it_was_started() {
    let unit = "ActiveState=active\nSubState=running\n";
    let first = cluster(unit).says_first("/nodes?", "");
    let (first, second) = (first, cluster("ActiveState=inactive\n"));
    let world = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &second)]);
    let step = step(false);
    step.apply(&world, &permit()).await.unwrap();
    // Its API fails once: from then on the second server is asked.
    assert!(step.check(&world, Phase::After).await.is_err());
    let found = step.check(&world, Phase::After).await.unwrap();
    assert!(matches!(found, Finding::Unknown(_)), "{found:?}");
    assert!(second.was_told("/pods?") && !second.was_told("ActiveState"));
}

/// systemd has the last word in the journal, and it is no cause.
#[test]
fn the_cause_is_kubectls_not_systemds() {
    let unit = "slicer-k3s-drain-a.service";
    let refused = "error when evicting pods/\"web\" -n \"default\" (will retry after 5s): Cannot evict pod as it would violate the pod's disruption budget.";
    let journal = format!(
        "{refused}\nevicting pod default/web\nThere are pending nodes to be drained:\n a-1\n{unit}: Main process exited, code=exited\n{unit}: Failed with result 'exit-code'.\n"
    );
    assert_eq!(cause(&journal, unit), refused);
    let done = format!("{journal}node/a-1 drained\n{unit}: Deactivated successfully.\n");
    assert_eq!(cause(&done, unit), "node/a-1 drained");
}

#[tokio::test]
async fn force_deletes_what_a_budget_protects() {
    let fake = cluster("");
    let world = world(&[("k3s-cp-1", &fake)]);
    step(true).apply(&world, &permit()).await.unwrap();
    assert!(fake.was_told("--force --disable-eviction"));
}
