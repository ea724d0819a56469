use super::*;
use crate::testing::{Fake, permit, plan, world};

fn step() -> K3sStarted {
    K3sStarted {
        server: plan().servers[1].clone(),
        via: Some("k3s-cp-1".into()),
        needs: Vec::new(),
        may_stop: false,
        newcomer: false,
        turns: RollingRestart::default(),
        troubles: Troubles::default(),
    }
}

fn failing(state: &str, journal: &[(&str, &str)]) -> Fake {
    Fake::new()
        .says("ActiveState", state)
        .answers("readyz", 1, "")
        .says("journalctl", &crate::remote::journal(journal))
}

const ENDED: &str = "ActiveState=activating\nSubState=auto-restart\nNRestarts=1\nInvocationID=b\nResult=exit-code\nExecMainStatus=1\n";
const STARTS: &str = "ActiveState=activating\nSubState=start\nNRestarts=0\nInvocationID=b\n";
const RUNS: &str = "ActiveState=active\nSubState=running\nNRestarts=0\nInvocationID=b\n";
const MODPROBE: &str = "modprobe: FATAL: Module overlay not found in directory /lib/modules/6";
const MISMATCH: &str =
    r#"time="x" level=fatal msg="Error: critical configuration value mismatch between servers""#;
const LEARNERS: &str = r#"time="x" level=info msg="Waiting for other members to finish joining etcd cluster: etcdserver: too many learner members in cluster""#;

async fn why(fake: &Fake) -> String {
    match step()
        .check(&world(&[("k3s-cp-2", fake)]), Phase::Before)
        .await
        .unwrap()
    {
        Finding::Unknown(why) | Finding::Differs(why) => why,
        Finding::Done(note) => panic!("{note}"),
    }
}

/// A mistake that waiting cannot cure must not cost five minutes, nor stop a run that is about to cure it.
#[tokio::test]
async fn a_lasting_trouble_ends_the_wait_only_after_we_started_it() {
    let fake = failing(ENDED, &[("b", MISMATCH), ("b", MODPROBE)]);
    let world = world(&[("k3s-cp-2", &fake)]);
    let step = step();
    assert!(matches!(
        step.check(&world, Phase::Before).await.unwrap(),
        Finding::Unknown(_)
    ));
    step.apply(&world, &permit()).await.unwrap();
    assert!(fake.was_told("systemctl restart --no-block k3s"));
    let failure = step.check(&world, Phase::After).await.unwrap_err();
    assert!(
        failure.is_permanent() && failure.hint.is_some(),
        "{failure}"
    );
}

/// It would end of this for ever. One that was a member keeps what it has, whatever its journal says.
#[tokio::test]
async fn a_first_start_that_was_cut_short_begins_again_and_a_members_never() {
    let fatal = r#"time="x" level=fatal msg="Error: preparing server: failed to reconcile with local datastore: no bootstrap data found in datastore - check server token value and verify datastore integrity""#;
    let young = "data=yes\nbytes=20480\nmembers=\nend\n";
    let grown = "data=yes\nbytes=4000000\nmembers=\nend\n";
    for (newcomer, held, again) in [
        (true, young, true),
        (true, grown, false),
        (false, young, false),
    ] {
        let fake = failing(ENDED, &[("b", fatal)]).says_first("member/wal", held);
        let world = world(&[("k3s-cp-2", &fake)]);
        let step = K3sStarted { newcomer, ..step() };
        let found = step.check(&world, Phase::Before).await.unwrap();
        assert_eq!(matches!(found, Finding::Differs(_)), newcomer, "{found:?}");
        step.apply(&world, &permit()).await.unwrap();
        assert_eq!(fake.was_told("etcd-old-"), again, "{held}");
    }
}

/// k3s waits for the others without ending: systemd has nothing to count.
#[tokio::test]
async fn a_learner_queue_is_the_reason_of_the_wait() {
    let fake = failing(STARTS, &[("a", MISMATCH), ("b", LEARNERS)]);
    let step = step();
    let found = step
        .check(&world(&[("k3s-cp-2", &fake)]), Phase::After)
        .await
        .unwrap();
    assert!(matches!(found, Finding::Unknown(why) if why.contains("one in at a time")));
}

/// Neither what `ExecStartPre` prints nor what systemd says of the unit, and never an earlier run's end.
#[tokio::test]
async fn a_k3s_that_ended_is_told_by_its_own_last_message() {
    let fatal = r#"time="x" level=fatal msg="Error: \"x\" is broken""#;
    let lines = [("a", MISMATCH), ("b", MODPROBE), ("b", fatal), ("b", "x")];
    let told = why(&failing(ENDED, &lines)).await;
    assert_eq!(
        told,
        "it ended 2 times and starts again: Error: \"x\" is broken"
    );
    // The next start has begun and says nothing yet, or only noise.
    let next = ENDED
        .replace("auto-restart", "start")
        .replace("NRestarts=1", "NRestarts=2")
        .replace("InvocationID=b", "InvocationID=c");
    for more in [vec![], vec![("c", MODPROBE)]] {
        let lines = [lines.to_vec(), more].concat();
        let told = why(&failing(&next, &lines)).await;
        assert_eq!(
            told,
            "it ended 2 times and starts again: Error: \"x\" is broken"
        );
    }
    // It was killed while it waited for others.
    let killed = ENDED
        .replace("exit-code", "oom-kill")
        .replace("NRestarts=1", "NRestarts=0");
    let told = why(&failing(&killed, &[("a", fatal), ("b", LEARNERS)])).await;
    assert_eq!(
        told,
        "it ended once and starts again: the kernel killed it, as memory ran out"
    );
}

/// It is active, so that `start` would do nothing.
#[tokio::test]
async fn a_server_that_was_removed_while_it_ran_is_restarted() {
    let fake = failing(RUNS, &[]).says("db/etcd/tombstone", "600 0 0\ne3b0  -\n");
    let world = world(&[("k3s-cp-2", &fake)]);
    let found = step().check(&world, Phase::Before).await.unwrap();
    assert!(matches!(found, Finding::Differs(why) if why.contains("removed")));
    step().apply(&world, &permit()).await.unwrap();
    assert!(fake.was_told("systemctl restart --no-block k3s"));
    // Where it cannot rejoin, that is what counts.
    let fatal = r#"time="x" level=fatal msg="Error: starting kubernetes: preparing server: tombstone file has been detected but --server is empty: backup and delete""#;
    let fake = failing(ENDED, &[("b", fatal)]).says("db/etcd/tombstone", "600 0 0\n");
    assert!(why(&fake).await.contains("names no server to rejoin"));
}

/// A Status, as k3s answers curl while it starts, ends with a brace.
#[tokio::test]
async fn an_api_that_starts_is_told_by_its_message() {
    let status = "{\n  \"kind\": \"Status\",\n  \"status\": \"Failure\",\n  \"message\": \"apiserver not ready\",\n  \"code\": 503\n}";
    let fake = Fake::new()
        .says("ActiveState", STARTS)
        .says("readyz", status);
    assert_eq!(
        why(&fake).await,
        "its API does not answer yet: apiserver not ready"
    );
}

/// It had its ends while it was locked out; a hiccup of its API while another one restarts is no reason to take it down, too.
#[tokio::test]
async fn a_server_that_runs_again_is_not_restarted_beside_another() {
    let (plan, secrets) = (plan(), crate::testing::secrets());
    let current = &crate::k3s::readings(&plan, &plan.servers[1], &secrets).unwrap()[0];
    for (unit, verb) in [
        (RUNS.replace("NRestarts=0", "NRestarts=4"), "start"),
        (ENDED.to_owned(), "restart"),
    ] {
        let fake = failing(&unit, &[]).says("environ", &crate::secret::sha256(current.as_bytes()));
        let world = world(&[("k3s-cp-2", &fake)]);
        step().apply(&world, &permit()).await.unwrap();
        assert!(
            fake.was_told(&format!("systemctl {verb} --no-block k3s")),
            "{verb}"
        );
    }
}

/// What was planned otherwise and comes up in mid-run: of several servers one restarts in its turn, an only one takes the word.
#[tokio::test]
async fn the_only_server_restarts_with_the_word_only() {
    let node = r#"{"status":{"conditions":[{"type":"EtcdIsVoter","status":"True"}]}}"#;
    for (servers, may_stop, restarts) in [(1, false, false), (1, true, true), (3, false, true)] {
        let mut plan = plan();
        plan.servers
            .retain(|server| servers == 3 || server.name == "k3s-cp-2");
        let secrets = crate::testing::secrets();
        let readings = crate::k3s::readings(&plan, &step().server, &secrets).unwrap();
        let fake = Fake::new()
            .says("ActiveState", RUNS)
            .says("readyz", "ok")
            .says("node", node)
            .says_first("environ", "0ld\n")
            .says("for name in NO_PROXY", "")
            .says("environ", &crate::secret::sha256(readings[0].as_bytes()));
        let mut world = world(&[
            ("k3s-cp-1", &fake),
            ("k3s-cp-2", &fake),
            ("k3s-cp-3", &fake),
        ]);
        world.plan = plan;
        let step = K3sStarted { may_stop, ..step() };
        let done = step.apply(&world, &permit()).await;
        assert_eq!(fake.was_told("systemctl restart"), restarts, "{servers}");
        if let Err(failure) = done {
            assert!(!restarts, "{failure}");
            assert_eq!((failure.code, failure.code.exit_code()), (Code::Outage, 1));
        }
    }
}

/// To rotate once more what a rotation did not lock out puts a third token into every configuration.
#[tokio::test]
async fn a_rotation_is_gone_on_with_only_where_one_is_under_way() {
    let sealed = r#"time="x" level=fatal msg="Error: preparing server: bootstrap data already found and encrypted with different token""#;
    for rotating in [true, false] {
        let fake = failing(ENDED, &[("b", sealed)]);
        let mut world = world(&[("k3s-cp-2", &fake)]);
        if rotating {
            world.secrets.retired.server = Some(crate::secret::Secret::new("0ld"));
        }
        let Finding::Unknown(why) = step().check(&world, Phase::Before).await.unwrap() else {
            panic!("it is not up");
        };
        assert_eq!(why.contains("rotate-token --server"), rotating, "{why}");
        assert_eq!(why.contains("--reveal former-server"), !rotating, "{why}");
    }
}

/// Its configuration was changed while it was starting: for five minutes `start` did nothing.
#[tokio::test]
async fn a_start_with_an_older_configuration_begins_again() {
    let (plan, secrets) = (plan(), crate::testing::secrets());
    let current = &crate::k3s::readings(&plan, &plan.servers[1], &secrets).unwrap()[0];
    let current = crate::secret::sha256(current.as_bytes());
    let other = crate::secret::sha256(b"another");
    for (read, verb) in [(&*current, "start"), (&*other, "restart"), ("", "start")] {
        let fake = failing(STARTS, &[]).says("environ", read);
        let world = world(&[("k3s-cp-2", &fake)]);
        step().apply(&world, &permit()).await.unwrap();
        let told = format!("systemctl {verb} --no-block k3s");
        assert!(fake.was_told(&told), "{read} {verb}");
    }
}
