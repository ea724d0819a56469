use super::*;
use crate::step_id::StepName;
use crate::testing::{Fake, permit, plan, shared, world};

fn step() -> VmUp {
    VmUp::new(
        &plan(),
        &plan().servers[0],
        &crate::testing::options(),
        &RollingRestart::default(),
        &ControlPlane::default(),
    )
}

/// A restart for one server's disk rebooted the others in the middle of what was done on them.
#[test]
fn the_other_servers_of_a_daemon_wait_for_one_without_a_disk() {
    let plan = plan();
    let control_plane = ControlPlane {
        without_disk: vec!["k3s-cp-1".into(), "k3s-cp-3".into()],
        ..ControlPlane::default()
    };
    let after = |server: usize| {
        let (options, turns) = (crate::testing::options(), RollingRestart::default());
        VmUp::new(
            &plan,
            &plan.servers[server],
            &options,
            &turns,
            &control_plane,
        )
        .meta()
        .after
    };
    assert_eq!(after(0), []);
    assert_eq!(
        after(1),
        [StepName::VmUp.on("k3s-cp-1"), StepName::VmUp.on("k3s-cp-3")]
    );
    assert_eq!(after(2), [StepName::VmUp.on("k3s-cp-1")]);
}

/// Slicer starts what its YAML counts only when the daemon starts: without us a server that ended stays so.
#[tokio::test]
async fn a_server_that_ended_is_brought_back_and_one_that_runs_is_left_alone() {
    for (status, told) in [
        ("Stopped", Some("POST /vm/k3s-cp-1/relaunch")),
        ("Paused", Some("POST /vm/k3s-cp-1/resume")),
        ("Running", None),
    ] {
        let vms =
            format!(r#"[{{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"{status}"}}]"#);
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("GET /hostgroup/k3s-cp/nodes", &vms)
            .says("GET /vm/k3s-cp-1/health", r#"{"agent_uptime":1}"#);
        let world = world(&[("n100", &host)]);
        let step = step();
        let found = step.check(&world, Phase::Before).await.unwrap();
        assert_eq!(
            matches!(found, Finding::Done(_)),
            told.is_none(),
            "{found:?}"
        );
        step.apply(&world, &permit()).await.unwrap();
        assert_eq!(host.was_told("POST /"), told.is_some());
        assert!(told.is_none_or(|line| host.was_told(line)));
    }
}

/// The API answers for a VM whose agent hangs with an error: that is the VM's fault, and its time runs.
#[tokio::test(start_paused = true)]
async fn a_boot_that_hangs_ends_after_its_own_limit() {
    let vms = r#"[{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"Running"}]"#;
    let host = Fake::new()
        .says("auth/token", "t0ken\n")
        .says("GET /hostgroup/k3s-cp/nodes", vms);
    let world = world(&[("n100", &host)]);
    let step = step();
    assert!(matches!(
        step.check(&world, Phase::Before).await.unwrap(),
        Finding::Unknown(why) if why.starts_with("its agent does not answer yet: ")
    ));
    tokio::time::advance(BOOT).await;
    let failure = step.check(&world, Phase::Before).await.unwrap_err();
    assert_eq!(failure.code, Code::Vm);
    assert!(
        failure
            .hint
            .unwrap()
            .contains("slicer vm shutdown k3s-cp-1")
    );
}

const NODES: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n","labels":{"slicer/hostgroup":"k3s-agents-2"}},"spec":{}}]}"#;
const NONE: &str = r#"{"kind":"List","metadata":{},"items":[]}"#;

fn lost() -> ControlPlane {
    ControlPlane {
        without_disk: vec!["k3s-cp-1".into()],
        ..ControlPlane::default()
    }
}

fn of_lost(options: &Options) -> VmUp {
    let plan = shared();
    VmUp::new(
        &plan,
        &plan.servers[0],
        options,
        &RollingRestart::default(),
        &lost(),
    )
}

/// Agents of the daemon that restarts for a server's disk ended with all that ran on them.
#[tokio::test(start_paused = true)]
async fn agents_of_a_daemon_that_restarts_for_a_disk_are_drained_first() {
    let claims = r#"{"kind":"List","metadata":{},"items":[{"spec":{"local":{},"claimRef":{"namespace":"a","name":"b"},
        "nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["n"]}]}]}}}}]}"#;
    for (allow_outage, volumes, ends) in [
        (true, NONE, None),
        (false, NONE, Some(Code::Outage)),
        (true, claims, Some(Code::LocalData)),
    ] {
        let mut empty = world(&[]);
        empty.plan = shared();
        let yaml = crate::steps::daemon::config::host_yaml(&empty, &shared().daemons[0]).unwrap();
        let host = Fake::new()
            .says("auth/token", "t0ken\n")
            .says("environ", &crate::secret::sha256(yaml.content.as_bytes()))
            .says(
                "GET /hostgroup/k3s-cp/nodes",
                r#"[{"hostname":"k3s-cp-2","status":"Running"}]"#,
            )
            .says(
                "GET /hostgroup/k3s-agents-2/nodes",
                r#"[{"hostname":"k3s-agents-2-1"}]"#,
            );
        let server = Fake::new()
            .says_first("unschedulable", NODES)
            .says("unschedulable", NONE)
            .says("/persistentvolumes?", volumes)
            .says("/nodes", NODES)
            .says("/deployments", "{}");
        let mut world = world(&[("n100", &host), ("k3s-cp-2", &server)]);
        world.plan = shared();
        let options = Options {
            allow_outage,
            ..crate::testing::options()
        };
        let applied = of_lost(&options).apply(&world, &permit()).await;
        let failure = applied.err();
        assert_eq!(failure.as_ref().map(|it| it.code), ends, "{failure:?}");
        assert_eq!(server.was_told("kubectl drain"), ends.is_none());
        assert_eq!(host.was_told("systemctl restart"), ends.is_none());
        if ends == Some(Code::Outage) {
            let words = failure.unwrap().to_string();
            let cost = "reboots k3s-cp-2, and ends the agents k3s-agents-2-1";
            assert!(words.contains(cost), "{words}");
        }
    }
}

/// The autoscaler is stopped for that drain: who starts it again comes after it.
#[test]
fn the_autoscaler_waits_for_a_drain_before_a_disk_is_made() {
    for (plan, waits) in [(shared(), true), (plan(), false)] {
        let options = crate::testing::options();
        let secrets = crate::testing::secrets();
        let steps = crate::steps::init(&plan, &options, &lost(), &secrets);
        let config = StepName::CloudConfig.on_cluster();
        let config = steps.iter().find(|step| step.id() == config).unwrap();
        assert_eq!(
            config.meta().after.contains(&StepName::VmUp.on("k3s-cp-1")),
            waits
        );
    }
}
