use super::*;
use crate::secret::sha256;
use crate::steps::daemon::config::host_yaml;
use crate::testing::{Fake, machine, plan, world};

fn server(voter: bool) -> Fake {
    let status = if voter { "True" } else { "False" };
    Fake::new().says("readyz", "ok").says(
        "node",
        &format!(r#"{{"status":{{"conditions":[{{"type":"EtcdIsVoter","status":"{status}"}}]}}}}"#),
    )
}

#[tokio::test]
async fn a_restart_that_would_stop_etcd_is_refused() {
    let (up, down) = (server(true), server(false));
    let servers = plan().servers;
    let one = |third| world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", third)]);
    let turns = RollingRestart::default();
    let refused = turns.take(&one(&down), &servers[..1]).await;
    let failure = refused.err().unwrap();
    assert_eq!(failure.code, Code::QuorumAtRisk);
    assert!(failure.to_string().contains("k3s-cp-3"), "{failure}");
    // The one that is down already may be restarted, all may, and one of three that vote may.
    assert!(turns.take(&one(&down), &servers[2..]).await.is_ok());
    assert!(turns.take(&one(&down), &servers).await.is_ok());
    assert!(turns.take(&one(&up), &servers[..1]).await.is_ok());
}

/// After a rotation that was cut short a server comes back once its new configuration is there.
#[tokio::test]
async fn a_server_on_its_way_back_is_waited_for() {
    let (up, down) = (server(true), server(false));
    let back = server(true).says_first("node", r#"{"status":{"conditions":[]}}"#);
    let servers = plan().servers;
    let one = |third| world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", third)]);
    let turns = RollingRestart {
        timeout: Duration::from_secs(2),
        ..RollingRestart::default()
    };
    assert!(turns.take(&one(&back), &servers[..1]).await.is_ok());
    assert!(turns.take(&one(&down), &servers[..1]).await.is_err());
}

/// A server that was down already was waited for without end by whoever had allowed the outage; one that this run took down
/// must never be given up.
#[tokio::test(start_paused = true)]
async fn a_quorum_is_given_up_only_for_want_of_those_that_were_down_before() {
    let (up, down) = (server(true), server(false));
    let servers = plan().servers;
    let one = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", &down)]);
    for (without, granted) in [("k3s-cp-3", true), ("k3s-cp-2", false)] {
        let turns = RollingRestart::of_a_run(&[without.to_owned()]);
        let begin = Instant::now();
        let taken = turns.take(&one, &servers[..1]).await;
        assert_eq!(taken.is_ok(), granted, "{without}");
        assert!(begin.elapsed() >= RETURN, "it may come back");
    }
    let mut off = one;
    off.plan.servers[2].host = "off".into();
    let turns = RollingRestart::of_a_run(&["k3s-cp-3".to_owned()]);
    let begin = Instant::now();
    assert!(turns.take(&off, &servers[..1]).await.is_ok());
    assert!(begin.elapsed() < RETURN, "it cannot come back in this run");
}

/// The wait for a server held the turn that this one needed to come back.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_server_does_not_keep_it_from_its_own_restart() {
    let (up, down) = (server(true), server(false));
    let one = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", &down)]);
    let servers = plan().servers;
    let turns = RollingRestart::of_a_run(&[]);
    let waits = turns.take(&one, &servers[..1]);
    let own = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        turns.take(&one, &servers[2..]).await.is_ok()
    };
    let (refused, own) = tokio::join!(waits, tokio::time::timeout(SECOND * 10, own));
    assert!(own.unwrap());
    assert_eq!(refused.err().unwrap().code.exit_code(), 1);
}

/// While a leader is elected no server answers: a restart then would have cost the quorum.
#[tokio::test(start_paused = true)]
async fn a_quorum_is_lost_only_where_it_stays_away() {
    let up = server(true);
    let elects = || server(true).says_first("node", r#"{"status":{"conditions":[]}}"#);
    let down = server(false);
    let servers = plan().servers;
    let turns = RollingRestart::default();
    // The third is down, and the second answers again: it must stay.
    let (one, two) = (elects(), elects());
    let flapping = world(&[("k3s-cp-1", &one), ("k3s-cp-2", &two), ("k3s-cp-3", &down)]);
    assert!(turns.take(&flapping, &servers[..1]).await.is_err());
    let lost = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &down), ("k3s-cp-3", &down)]);
    let begin = Instant::now();
    assert!(turns.take(&lost, &servers[1..2]).await.is_ok());
    assert!(begin.elapsed() >= ELECTION);
}

/// Also of a run that goes on, where no step waits for the server before.
#[tokio::test]
async fn who_has_restarted_for_new_tokens_is_asked_before_the_next_restarts() {
    let servers = plan().servers;
    let readings = crate::k3s::readings(&plan(), &servers[0], &crate::testing::secrets()).unwrap();
    let (new, old) = (sha256(readings[0].as_bytes()), sha256(b"0ld"));
    for (runs_with, answers, allowed) in [
        (&new, ["200", "401"], true),
        (&new, ["200", "200"], false),
        (&new, ["401", "401"], false),
        (&old, ["401", "200"], true),
    ] {
        let up = server(true);
        let first = server(true)
            .says("environ", runs_with)
            .says_first("/v1-k3s/config", answers[0])
            .says("/v1-k3s/config", answers[1]);
        let mut world = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &up), ("k3s-cp-3", &up)]);
        world.secrets.retired.agent = Some(crate::secret::Secret::new("0ld-agent-token"));
        let turns = RollingRestart {
            rotating: true,
            ..RollingRestart::default()
        };
        let taken = turns.take(&world, &servers[1..2]).await;
        assert_eq!(taken.is_ok(), allowed, "{runs_with} {answers:?}");
    }
}

#[tokio::test]
async fn the_next_waits_until_the_one_before_votes_again() {
    let up = server(true);
    let world = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", &up)]);
    let servers = plan().servers;
    let turns = RollingRestart::default();
    let first = turns.take(&world, &servers[..1]).await.unwrap();
    let other = turns.clone();
    let second = other.take(&world, &servers[1..2]);
    let early = tokio::time::timeout(Duration::from_millis(50), second).await;
    assert!(early.is_err(), "two servers were down at once");
    let daemon = plan().daemons[0].clone();
    let yaml = host_yaml(&world, &daemon).unwrap().content;
    let host = machine(
        "n100",
        Fake::new().says("environ", &sha256(yaml.as_bytes())),
    );
    let process = Process::Daemon(&daemon);
    first.end(&world, &host, process).await.unwrap();
    assert!(turns.take(&world, &servers[1..2]).await.is_ok());
}
