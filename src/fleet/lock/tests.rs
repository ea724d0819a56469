use super::super::awake::{Awake, clock};
use super::majority::{carriers, weight};
use super::*;
use crate::remote::{Holder, Previous};

fn held(weight: usize) -> (watch::Sender<Lease>, Held) {
    let (told, standing) = watch::channel(Lease::Ours(Awake::now()));
    let held = Held {
        host: "n100".into(),
        weight,
        keeper: tokio::spawn(std::future::pending()),
        standing,
        notes: unbounded_channel().0,
    };
    (told, held)
}

fn lock(weights: &[usize], needed: usize) -> (Vec<watch::Sender<Lease>>, ClusterLock) {
    let (told, held) = weights.iter().map(|weight| held(*weight)).unzip();
    let lock = ClusterLock {
        held,
        needed,
        minority: None,
        cluster: "home".into(),
        who: String::new(),
        command: String::new(),
        seen: None,
        runs: Arc::default(),
    };
    (told, lock)
}

/// A lock that is another run's by now.
pub(crate) fn lost_lock(failure: &Failure) -> ClusterLock {
    let (told, lock) = lock(&[3], 2);
    told[0].send_replace(Lease::Lost(failure.clone()));
    lock
}

/// Another may have begun meanwhile: nothing may be done before that is known.
#[tokio::test]
async fn work_rests_while_the_lock_is_in_doubt_and_goes_on_when_it_is_ours() {
    let (told, lock) = lock(&[3], 2);
    told[0].send_replace(Lease::Unknown);
    let work = lock.during(async { 7 });
    tokio::pin!(work);
    let rest = tokio::time::timeout(Duration::from_millis(50), &mut work).await;
    assert!(rest.is_err());
    told[0].send_replace(Lease::Ours(Awake::now()));
    assert_eq!(work.await.unwrap(), 7);
}

#[tokio::test]
async fn work_is_given_up_when_the_lock_is_anothers() {
    let (told, lock) = lock(&[1, 1, 1], 2);
    let lost = Failure::new(Code::Locked, "another");
    told[2].send_replace(Lease::Lost(lost.clone()));
    let never = lock.during(std::future::pending::<()>()).await;
    assert_eq!(never.unwrap_err(), lost);
}

/// A host that goes down in the middle of a run takes its lock with it, and no other run can have the majority then.
#[tokio::test]
async fn work_goes_on_while_hosts_with_most_servers_are_held() {
    let (told, lock) = lock(&[1, 1, 1], 2);
    told[0].send_replace(Lease::Gone(Failure::new(Code::Locked, "off")));
    assert_eq!(lock.during(async { 7 }).await.unwrap(), 7);
    told[1].send_replace(Lease::Gone(Failure::new(Code::Locked, "off")));
    assert!(lock.during(std::future::pending::<()>()).await.is_err());
}

/// The lid was closed for an hour: the shell has let go of the lock long ago, whatever our side of the connection says.
#[tokio::test]
async fn after_a_sleep_nothing_is_done_before_the_lock_is_known_to_be_ours() {
    let (told, lock) = lock(&[3], 2);
    let awake = Awake::now();
    told[0].send_replace(Lease::Ours(awake.clone()));
    awake.asleep_for(Duration::from_mins(10));
    let work = lock.during(async { 7 });
    tokio::pin!(work);
    let rest = tokio::time::timeout(Duration::from_millis(50), &mut work).await;
    assert!(rest.is_err());
    // An answer to what was sent before the sleep says nothing of now.
    awake.beat(clock() - 600);
    told[0].send_replace(Lease::Ours(awake.clone()));
    let rest = tokio::time::timeout(Duration::from_millis(50), &mut work).await;
    assert!(rest.is_err());
    awake.beat(clock());
    told[0].send_replace(Lease::Ours(awake));
    assert_eq!(work.await.unwrap(), 7);
}

/// Another run held it and gave it back while the way to the host was lost.
#[tokio::test]
async fn a_lock_that_another_run_had_meanwhile_is_lost() {
    use crate::testing::{Fake, machine};
    let note = |run: &str| {
        let note = Note::new(run.into(), "you@there".into(), "init".into(), 1);
        note.line().unwrap()
    };
    for (last, noted, ours) in [
        ("mine", "", true),
        ("another", "", false),
        // One was seen at the start.
        ("", "", false),
        // After a reboot only the note says it.
        ("", "seen", true),
        ("", "newer", false),
    ] {
        let found = Previous {
            last: last.into(),
            note: (!noted.is_empty()).then(|| note(noted)),
        };
        let place = LockHost {
            machine: Arc::new(machine("n100", Fake::new())),
            cluster: "home".into(),
            me: Holder {
                mark: "mine".into(),
                who: "me@here".into(),
                command: "init".into(),
                seconds: 0,
            },
            runs: Arc::new(Mutex::new(vec!["seen".to_owned()])),
        };
        assert_eq!(place.was_ours(&found).unwrap(), ours, "{last} {noted}");
    }
}

fn config() -> Config {
    crate::config::parse(
        "name='x'\n[control-plane]\nhosts=['a','b','c']\n[hosts.a]\nssh='local'\n[hosts.b]\nssh='me@b'\n[hosts.c]\nssh='me@c'",
        "x",
    )
    .unwrap()
}

/// Two workstations that reach different hosts must not both be at work.
#[test]
fn hosts_with_most_of_the_servers_are_needed() {
    let config = config();
    assert_eq!(needed(&config, &Weights::new()), 2);
    let spread: Weights = ["a", "b", "c"].map(|host| (host.to_owned(), 1)).into();
    assert_eq!(needed(&config, &spread), 2);
    // Two servers on one host: that one alone is enough.
    let uneven: Weights = [("a".to_owned(), 2), ("b".to_owned(), 1)].into();
    assert_eq!(needed(&config, &uneven), 2);
    // A cluster.toml that names fewer hosts by now makes none of them a majority.
    let mut fewer = config.clone();
    fewer.control_plane.hosts.truncate(1);
    assert_eq!(needed(&fewer, &spread), 2);
    assert_eq!(carriers(&fewer, &spread), ["a", "b", "c"]);
    assert_eq!(weight(&uneven, "a"), 2);
    assert_eq!(weight(&uneven, "c"), 0);
}
