use super::*;
use crate::failure::Code;
use crate::secret::{Secret, sha256};
use crate::testing::{Fake, plan, world};

const ACTIVE: &str = "ActiveState=active\nSubState=running\n";

/// A server that runs with an older configuration.
fn outdated(votes: bool) -> Fake {
    let votes = if votes { "True" } else { "False" };
    let node =
        format!(r#"{{"status":{{"conditions":[{{"type":"EtcdIsVoter","status":"{votes}"}}]}}}}"#);
    Fake::new()
        .says("ActiveState", ACTIVE)
        .says("environ", "0ld")
        .says("readyz", "ok")
        .says("node", &node)
}

/// A host whose daemons run with what they are to have, and a group with these VMs.
fn host(vms: &str) -> Fake {
    let daemon = &plan().daemons[0];
    let yaml = crate::steps::daemon::config::host_yaml(&world(&[]), daemon).unwrap();
    Fake::new()
        .says("ActiveState", ACTIVE)
        .says("auth/token", "t0ken")
        .says("GET /hostgroup/k3s-cp/nodes", vms)
        .says("environ", &sha256(yaml.content.as_bytes()))
}

async fn found(world: &World) -> Outages {
    let options = Options {
        allow_outage: false,
        ..crate::testing::options()
    };
    of_init(world, &options, &ControlPlane::default()).await
}

fn costs(outages: &Outages) -> Vec<(&str, Option<Code>)> {
    let found = outages.found.iter();
    let found = found.map(|outage| {
        let code = outage.refusal.as_ref().map(|failure| failure.code);
        (&*outage.what, code)
    });
    found.collect()
}

/// Three servers of which two may have read everything: what restarts them is refused no more, and shown before it happens.
#[tokio::test]
async fn a_rolling_restart_that_keeps_the_quorum_needs_consent_only() {
    let (one, two, three) = (outdated(true), outdated(true), outdated(true));
    let world = world(&[("k3s-cp-1", &one), ("k3s-cp-2", &two), ("k3s-cp-3", &three)]);
    let outages = found(&world).await;
    let what =
        "k3s on k3s-cp-1, k3s-cp-2, k3s-cp-3 restarts, one after the other; etcd keeps its quorum";
    assert_eq!(costs(&outages), [(what, None)]);
    assert!(outages.silent.is_empty());
    for server in [&one, &two, &three] {
        assert!(!server.was_told("systemctl restart"), "it only looks");
    }
}

/// One that is down while the run is planned may be brought up by that very run; one whose host is off may not.
#[tokio::test]
async fn a_quorum_that_is_lost_for_want_of_a_host_that_is_off_takes_the_word() {
    let (one, two, down) = (outdated(true), outdated(true), outdated(false));
    let mut world = world(&[("k3s-cp-1", &one), ("k3s-cp-2", &two), ("k3s-cp-3", &down)]);
    let outages = found(&world).await;
    assert!(outages.found[0].what.contains("now silent: k3s-cp-3"));
    assert_eq!(costs(&outages)[0].1, None);
    world.plan.servers[2].host = "off".into();
    let outages = found(&world).await;
    assert_eq!(outages.silent, ["k3s-cp-3"]);
    let refusal = outages.found[0].refusal.clone().unwrap();
    assert_eq!((refusal.code, refusal.code.exit_code()), (Code::Outage, 1));
    assert!(refusal.to_string().contains("k3s-cp-3 on off is off"));
    assert!(refusal.hint.unwrap().contains("init --allow-outage"));
    // It has no quorum that it could lose.
    let two = outdated(false);
    let mut world = crate::testing::world(&[("k3s-cp-1", &one), ("k3s-cp-2", &two)]);
    world.plan.servers[2].host = "off".into();
    assert_eq!(costs(&found(&world).await)[0].1, None);
}

/// Nothing answers while the only server restarts: a token's replacement is asked for, a changed setting's restart is not.
#[tokio::test]
async fn the_only_server_stops_with_the_word_or_for_what_was_asked() {
    let one = outdated(true);
    let mut world = world(&[("k3s-cp-1", &one)]);
    world.plan.servers.truncate(1);
    let outages = found(&world).await;
    assert!(outages.found[0].what.contains("the only server"));
    assert_eq!(costs(&outages)[0].1, Some(Code::Outage));
    world.secrets.retired.agent = Some(Secret::new("0ld"));
    assert_eq!(costs(&found(&world).await)[0].1, None);
}

/// Servers reboot and agents end by a daemon's restart: told before anything is written, with the number of each.
#[tokio::test]
async fn a_daemon_that_has_vms_restarts_with_the_word_only() {
    let vms = r#"[{"hostname":"k3s-cp-1"},{"hostname":"k3s-cp-2"}]"#;
    let empty = host("[]").says_first("environ", "0ld");
    let current = host(vms);
    let old = host(vms).says_first("environ", "0ld");
    for (fake, told) in [(&current, 0), (&empty, 0), (&old, 1)] {
        let mut world = world(&[("n100", fake)]);
        world.plan.daemons.truncate(1);
        world.plan.servers.clear();
        let outages = found(&world).await;
        assert_eq!(outages.found.len(), told);
        if let Some(outage) = outages.found.first() {
            let what = "slicer-k3s-cp.service on n100 restarts: reboots 2 servers";
            assert_eq!(outage.what, what);
            let refusal = outage.refusal.clone().unwrap();
            assert_eq!(refusal.code, Code::Outage);
            assert!(refusal.hint.unwrap().contains("init --allow-outage"));
        }
        assert!(!fake.was_told("systemctl restart"));
    }
}

/// Refused after the file was written, the host was left with a token that its daemon does not take.
#[tokio::test]
async fn a_new_token_of_a_host_with_vms_takes_the_word() {
    for (vms, told) in [(r#"[{"hostname":"a-1"}]"#, true), ("[]", false)] {
        let fake = Fake::new()
            .says("auth/token", "0ld\n")
            .says("GET /hostgroup/k3s-agents-1/nodes", vms);
        let world = world(&[("ryzen", &fake)]);
        let outages = of_token(&world, "ryzen").await;
        assert_eq!(!outages.found.is_empty(), told);
        if let Some(outage) = outages.found.first() {
            let hint = outage.refusal.clone().unwrap().hint.unwrap();
            assert!(
                hint.contains("rotate-token --slicer ryzen --allow-outage"),
                "{hint}"
            );
        }
    }
}

/// A disk that only the daemon's start makes reboots the other servers of that daemon.
#[tokio::test]
async fn a_disk_that_slicer_does_not_list_takes_the_word() {
    let control_plane = ControlPlane {
        without_disk: vec!["k3s-cp-1".into()],
        ..ControlPlane::default()
    };
    let others = r#"[{"hostname":"k3s-cp-2","status":"Running"}]"#;
    let listed = r#"[{"hostname":"k3s-cp-1","status":"Stopped"},{"hostname":"k3s-cp-2"}]"#;
    for (vms, told) in [(others, 1), (listed, 0), ("[]", 0)] {
        let host = host(vms);
        let disks = disks_to_make(&world(&[("n100", &host)]), &control_plane).await;
        assert_eq!(disks.len(), told, "{vms}");
        if let Some((_, outage)) = disks.first() {
            assert!(outage.what.contains("reboots k3s-cp-2"), "{}", outage.what);
            assert!(outage.refusal.is_some());
        }
    }
}

/// Agents of the same daemon were told as servers that reboot.
#[tokio::test]
async fn agents_of_a_daemon_that_restarts_for_a_disk_are_told_to_end() {
    let control_plane = ControlPlane {
        without_disk: vec!["k3s-cp-1".into()],
        ..ControlPlane::default()
    };
    let others = r#"[{"hostname":"k3s-cp-2","status":"Running"}]"#;
    let host = host(others).says(
        "GET /hostgroup/k3s-agents-2/nodes",
        r#"[{"hostname":"k3s-agents-2-1","status":"Paused"}]"#,
    );
    let mut world = world(&[("n100", &host)]);
    world.plan = crate::testing::shared();
    let disks = disks_to_make(&world, &control_plane).await;
    let what = &disks[0].1.what;
    let cost = "reboots k3s-cp-2, and ends the agents k3s-agents-2-1";
    assert!(what.ends_with(cost), "{what}");
}

/// It answered a minute later, restarted as it was allowed to, and no plan had said so.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_cannot_be_asked_now_is_shown_where_it_may_restart() {
    use std::collections::HashMap;
    use std::sync::Arc;

    use crate::remote::{Machine, Sudo};
    use crate::testing::{Hangs, secrets};

    for allow_outage in [true, false] {
        let hangs = Machine::new("ryzen", Box::new(Hangs), Sudo::Root);
        let hosts = HashMap::from([("ryzen".to_owned(), Arc::new(hangs))]);
        let world = World::new(plan(), secrets(), hosts);
        let options = Options {
            allow_outage,
            ..crate::testing::options()
        };
        let outages = of_init(&world, &options, &ControlPlane::default()).await;
        let told = costs(&outages);
        assert_eq!(told.len(), usize::from(allow_outage), "{told:?}");
        for (what, refusal) in told {
            assert!(
                what.starts_with("slicer-k3s-agents-1.service on ryzen may restart"),
                "{what}"
            );
            assert_eq!(refusal, None);
        }
    }
}
