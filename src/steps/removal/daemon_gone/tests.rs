use super::*;
use crate::pipeline::testing::hands;
use crate::steps::testing::{Fake, world};

fn step() -> DaemonGone {
    DaemonGone::new(
        "home",
        &Remains {
            group: "k3s-agents-1".into(),
            host: "ryzen".into(),
            shares: None,
            adopted: None,
            served_elsewhere: false,
        },
    )
}

/// What a person set up is stopped; its files and its unit are that person's.
#[tokio::test]
async fn an_adopted_daemon_is_stopped_and_its_files_stay() {
    let daemon = crate::steps::testing::plan().daemons[1].clone();
    let mut own = crate::steps::testing::adopted(&daemon);
    let fake = Fake::new()
        .says("comm", "4711\n")
        .says("cat --", "[Service]\nWorkingDirectory=/home/alex\n");
    let world = world(&[("ryzen", &fake)]);
    for unit in [None, Some("mine.service".to_owned())] {
        own.unit = unit;
        let remains = Remains {
            group: daemon.group.clone(),
            host: "ryzen".into(),
            shares: None,
            adopted: Some(own.clone()),
            served_elsewhere: false,
        };
        let step = DaemonGone::new("home", &remains);
        step.apply(&world, &hands()).await.unwrap();
    }
    assert!(fake.was_told("kill -TERM 4711"));
    let told = fake.told();
    assert!(
        told.iter()
            .all(|(command, _)| !command.contains("/home/alex/k3s") || command.contains("comm"))
    );
    assert!(
        fake.was_told("u=mine.service") && !fake.was_told("f=/etc/systemd/system/mine.service")
    );
}

/// Somebody's own daemon may have our unit's name: only where it works tells whose it is.
#[tokio::test]
async fn a_unit_of_somebody_else_is_left_alone() {
    let fake = Fake::new()
        .says("cat --", "[Service]\nWorkingDirectory=/root/mine\n")
        .says(
            "systemctl show",
            "ActiveState=active\nUnitFileState=enabled\n",
        )
        .answers("test -d", 1, "");
    let world = world(&[("ryzen", &fake)]);
    assert!(matches!(
        step().check(&world).await.unwrap(),
        Finding::Done(_)
    ));
    step().apply(&world, &hands()).await.unwrap();
    assert!(!fake.was_told("systemctl stop") && !fake.was_told("ip link"));
}

/// A group that was decided and never installed, beside a daemon of the same name in tmux: its VMs lost their network.
#[tokio::test]
async fn a_bridge_and_logs_without_a_directory_or_unit_of_ours_stay() {
    let theirs = || {
        Fake::new()
            .answers("cat --", 1, "")
            .says("systemctl show", "ActiveState=inactive\nUnitFileState=\n")
            .says("/sys/class/net", "755 0")
            .says("/var/log/slicer", "/var/log/slicer/k3s-agents-1-1.txt\n")
    };
    let nothing = theirs().answers("test -d", 1, "");
    let beside = DaemonGone {
        daemon: Remains {
            served_elsewhere: true,
            ..step().daemon
        },
        ..step()
    };
    let ours = theirs().says("test -d", "700 0");
    for (step, fake) in [(step(), nothing), (beside, ours)] {
        let world = world(&[("ryzen", &fake)]);
        let found = step.check(&world).await.unwrap();
        let done = Finding::Done("what has its name is not ours".into());
        let left = Finding::differs("/var/lib/slicer-k3s/home/k3s-agents-1 is there");
        assert!(found == done || found == left, "{found:?}");
        step.apply(&world, &hands()).await.unwrap();
        assert!(!fake.was_told("ip link delete") && !fake.was_told("rm -f"));
        assert!(!fake.was_told("systemctl stop"));
        assert!(fake.was_told("rm -rf --one-file-system -- /var/lib/slicer-k3s/home"));
    }
}

/// A unit that `systemd-run` made has its file elsewhere, and runs all the same.
#[tokio::test]
async fn a_transient_unit_of_our_name_is_left_alone() {
    let fake = Fake::new()
        .answers("cat --", 1, "")
        .says(
            "systemctl show",
            "ActiveState=active\nUnitFileState=transient\nWorkingDirectory=/root/mine\n",
        )
        .answers("test -d", 1, "");
    let world = world(&[("ryzen", &fake)]);
    let found = step().check(&world).await.unwrap();
    assert!(matches!(found, Finding::Done(_)), "{found:?}");
    step().apply(&world, &hands()).await.unwrap();
    assert!(!fake.was_told("systemctl stop"));
}

/// By its directory a later run knows that the logs are ours: a run that was killed in between left them for ever.
#[tokio::test]
async fn the_directory_goes_last() {
    let fake = Fake::new()
        .answers("cat --", 1, "")
        .says("/var/log/slicer", "/var/log/slicer/k3s-agents-1-1.txt\n");
    let world = world(&[("ryzen", &fake)]);
    step().apply(&world, &hands()).await.unwrap();
    let told = fake.told();
    let place = |words: &str| told.iter().position(|(command, _)| command.contains(words));
    let logs = place("rm -f -- /var/log/slicer/k3s-agents-1-1.txt");
    assert!(place("ip link delete") < logs && logs.is_some());
    assert!(logs < place("rm -rf --one-file-system"));
}

#[tokio::test]
async fn it_is_there_as_long_as_any_part_of_it_is() {
    const OURS: &str = "[Service]\nWorkingDirectory=/var/lib/slicer-k3s/home/k3s-agents-1\n";
    let show = "ActiveState=inactive\nUnitFileState=";
    let gone = || Fake::new().answers("test -d", 1, "");
    let bare = || gone().answers("cat --", 1, "").says("systemctl show", show);
    let unit = || gone().says("cat --", OURS).says("systemctl show", show);
    let none = |fake: Fake| fake.answers("/var/log/slicer", 1, "");
    for (fake, done) in [
        (none(bare()), true),
        (bare(), true),
        (none(unit()), true),
        // Its unit's file is there, and so these are its.
        (unit(), false),
        (
            Fake::new()
                .says("/sys/class/net", "755 0")
                .says("cat --", OURS),
            false,
        ),
        (
            Fake::new().says("/var/lib/slicer-k3s/home/k3s-agents-1", "700 0"),
            false,
        ),
    ] {
        let found = step().check(&world(&[("ryzen", &fake)])).await.unwrap();
        assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
    }
}

/// Another group's daemon served it: nothing else of it outlives that, and the cluster's directory says that it was ours.
#[tokio::test]
async fn what_another_groups_daemon_served_goes_while_the_clusters_directory_is_there() {
    let shared = DaemonGone {
        daemon: Remains {
            shares: Some("k3s-cp".into()),
            ..step().daemon
        },
        ..step()
    };
    for (ours, done) in [(0, false), (1, true)] {
        let fake = Fake::new()
            .answers("cat --", 1, "")
            .answers("test -d /var/lib/slicer-k3s/home &&", ours, "")
            .answers("test -d", 1, "")
            .says("/var/log/slicer", "/var/log/slicer/k3s-agents-1-1.txt\n");
        let found = shared.check(&world(&[("ryzen", &fake)])).await.unwrap();
        assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
    }
}
