use super::*;
use crate::testing::{Fake, permit, world};

fn step() -> DaemonGone {
    DaemonGone::new(
        "home",
        &DaemonToRemove {
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
    let daemon = crate::testing::plan().daemons[1].clone();
    let mut own = crate::testing::adopted(&daemon);
    let fake = Fake::new()
        .says("comm", "4711\n")
        .says("cat --", "[Service]\nWorkingDirectory=/home/alex\n");
    let world = world(&[("ryzen", &fake)]);
    for unit in [None, Some("mine.service".to_owned())] {
        own.unit = unit;
        let remains = DaemonToRemove {
            group: daemon.group.clone(),
            host: "ryzen".into(),
            shares: None,
            adopted: Some(own.clone()),
            served_elsewhere: false,
        };
        let step = DaemonGone::new("home", &remains);
        step.apply(&world, &permit()).await.unwrap();
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
        step().check(&world, Phase::Before).await.unwrap(),
        Finding::Done(_)
    ));
    step().apply(&world, &permit()).await.unwrap();
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
        daemon: DaemonToRemove {
            served_elsewhere: true,
            ..step().daemon
        },
        ..step()
    };
    let ours = theirs().says("test -d", "700 0");
    for (step, fake) in [(step(), nothing), (beside, ours)] {
        let world = world(&[("ryzen", &fake)]);
        let found = step.check(&world, Phase::Before).await.unwrap();
        let done = Finding::Done("what has its name is not ours".into());
        let left = Finding::differs("/var/lib/slicer-k3s/home/k3s-agents-1 is there");
        assert!(found == done || found == left, "{found:?}");
        step.apply(&world, &permit()).await.unwrap();
        assert!(!fake.was_told("ip link delete") && !fake.was_told("rm -f"));
        assert!(!fake.was_told("systemctl stop"));
        assert!(fake.was_told("rm -rf --one-file-system -- /var/lib/slicer-k3s/home"));
    }
}

/// A namesake that came later: the unit that works in our directory was left running, and the directory went under its VMs.
#[tokio::test]
async fn beside_a_namesake_our_unit_is_stopped_before_its_directory_goes() {
    const OURS: &str = "[Service]\nWorkingDirectory=/var/lib/slicer-k3s/home/k3s-agents-1\n";
    let beside = DaemonGone {
        daemon: DaemonToRemove {
            served_elsewhere: true,
            ..step().daemon
        },
        ..step()
    };
    let show = "ActiveState=active\nSubState=running\nUnitFileState=enabled\n";
    let fake = Fake::new()
        .says("cat --", OURS)
        .says("systemctl show", show)
        .says("/var/log/slicer", "/var/log/slicer/k3s-agents-1-1.txt\n");
    beside
        .apply(&world(&[("ryzen", &fake)]), &permit())
        .await
        .unwrap();
    let told = fake.told();
    let place = |words: &str| told.iter().position(|(command, _)| command.contains(words));
    let stopped = place("systemctl stop");
    assert!(stopped.is_some() && stopped < place("rm -rf --one-file-system"));
    // What has these names may be the other daemon's.
    let (stop, _) = &told[stopped.unwrap()];
    assert!(!stop.contains("brk3s-agents-10") && !fake.was_told("rm -f -- /var/log/slicer"));
    let left = Fake::new()
        .answers("test -d", 1, "")
        .says("cat --", OURS)
        .says("systemctl show", show);
    let found = beside
        .check(&world(&[("ryzen", &left)]), Phase::After)
        .await
        .unwrap();
    assert_eq!(
        found,
        Finding::differs("slicer-k3s-agents-1.service is there")
    );
}

/// A person's unit named its directory by a link or with a stroke at its end, and was left running as someone else's.
#[tokio::test]
async fn a_unit_that_names_our_directory_otherwise_is_ours() {
    let daemon = crate::testing::plan().daemons[1].clone();
    let mut own = crate::testing::adopted(&daemon);
    own.unit = Some("mine.service".into());
    let remains = DaemonToRemove {
        adopted: Some(own),
        ..step().daemon
    };
    let step = DaemonGone::new("home", &remains);
    for (said, ours) in [
        ("/home/alex/", true),
        ("-/home/alex", true),
        ("/srv/link", true),
        ("/srv/other", false),
    ] {
        let fake = Fake::new()
            .says("cat --", &format!("[Service]\nWorkingDirectory={said}\n"))
            .says("readlink -f -- /home/alex 2", "/data/alex\n")
            .says("readlink -f -- /srv/link 2", "/data/alex\n")
            .says("readlink -f -- /srv/other 2", "/srv/other\n");
        step.apply(&world(&[("ryzen", &fake)]), &permit())
            .await
            .unwrap();
        assert_eq!(fake.was_told("systemctl stop"), ours, "{said}");
    }
}

/// A daemon that was handed over and runs by hand ran on after "home is gone", where another one has its group's name.
#[tokio::test]
async fn a_process_of_ours_beside_a_namesake_is_stopped() {
    let daemon = crate::testing::plan().daemons[1].clone();
    let remains = DaemonToRemove {
        adopted: Some(crate::testing::adopted(&daemon)),
        served_elsewhere: true,
        ..step().daemon
    };
    let step = DaemonGone::new("home", &remains);
    let fake = Fake::new().says("comm", "4711\n").answers("cat --", 1, "");
    let world = world(&[("ryzen", &fake)]);
    step.apply(&world, &permit()).await.unwrap();
    assert!(fake.was_told("kill -TERM 4711"));
    assert!(!fake.was_told("systemctl stop") && !fake.was_told("ip link"));
}

/// Its VMs would run on without their disks.
#[test]
fn a_directory_in_which_a_daemon_works_is_not_removed() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    let place = tempfile::tempdir().unwrap();
    let works = place.path().join("works");
    fs_err::create_dir(&works).unwrap();
    let link = place.path().join("link");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    // A process of Slicer's name whose words are Slicer's: a shell that reads a script called `up`.
    fs_err::copy("/bin/sh", place.path().join("slicer")).unwrap();
    fs_err::write(works.join("up"), "echo ready; read line").unwrap();
    let mut child = Command::new(place.path().join("slicer"))
        .args(["up", "a.yaml"])
        .current_dir(&works)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 6])
        .unwrap();
    let named = link.join("works").display().to_string();
    let script = Script::new(REMOVE_DIRECTORY, &[&named, &named]);
    let remove = || {
        Command::new("sh")
            .args(["-c", script.text()])
            .output()
            .unwrap()
    };
    let refused = remove();
    let there = works.exists();
    child.kill().unwrap();
    child.wait().unwrap();
    let refusal = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && there);
    assert!(
        refusal.contains(&format!("process {} runs", child.id())),
        "{refusal}"
    );
    assert!(remove().status.success() && !works.exists());
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
    let found = step().check(&world, Phase::Before).await.unwrap();
    assert!(matches!(found, Finding::Done(_)), "{found:?}");
    step().apply(&world, &permit()).await.unwrap();
    assert!(!fake.was_told("systemctl stop"));
}

/// By its directory a later run knows that the logs are ours: a run that was killed in between left them for ever.
#[tokio::test]
async fn the_directory_goes_last() {
    let fake = Fake::new()
        .answers("cat --", 1, "")
        .says("/var/log/slicer", "/var/log/slicer/k3s-agents-1-1.txt\n");
    let world = world(&[("ryzen", &fake)]);
    step().apply(&world, &permit()).await.unwrap();
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
        let found = step()
            .check(&world(&[("ryzen", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
    }
}

/// Another group's daemon served it: nothing else of it outlives that, and the cluster's directory says that it was ours.
#[tokio::test]
async fn what_another_groups_daemon_served_goes_while_the_clusters_directory_is_there() {
    let shared = DaemonGone {
        daemon: DaemonToRemove {
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
        let found = shared
            .check(&world(&[("ryzen", &fake)]), Phase::Before)
            .await
            .unwrap();
        assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
    }
}
