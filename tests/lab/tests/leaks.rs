//! `down` leaves nothing: fleets come and go, one of them killed half-way, and the
//! machine that carries them is as it was. Needs root and the machines' root file
//! system, so it is ignored unless asked for: `cargo test -p slicer-k3s-lab --test leaks -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Fleet names of this test alone; other fleets on the same machine come and go as they please.
const FLEETS: [&str; 3] = ["leak-a", "leak-b", "leak-c"];

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> String {
    let done = lab(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "lab {arguments:?}: {told}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn up(fleet: &str, name: &str) -> Vec<String> {
    ["up", "--without-internet", "--fleet", fleet, "--name", name]
        .map(str::to_owned)
        .to_vec()
}

fn start(fleet: &str, name: &str) {
    let arguments = up(fleet, name);
    run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

fn ours(text: &str) -> bool {
    FLEETS.iter().any(|fleet| text.contains(fleet))
}

/// Everything that a fleet could leave behind: what bears its name, and all of what has no owner's name on it.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let told = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    // No interface or route of the machine's own namespace is ever the lab's.
    for arguments in [["-o", "link"], ["route", "list"]] {
        found.extend(told("ip", &arguments).lines().map(str::to_owned));
    }
    found.extend(
        told("ip", &["netns", "list"])
            .lines()
            .filter(|line| ours(line))
            .map(str::to_owned),
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| ours(line)).map(str::to_owned));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let groups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        // The dead that the machine's own init has not yet counted have nothing any more.
        let dead = std::fs::read_to_string(process.path().join("status"))
            .is_ok_and(|status| status.contains("State:\tZ"));
        if ours(&groups) && !dead {
            found.insert(format!("process {}", process.path().display()));
        }
    }
    let mut todo = vec![
        PathBuf::from("/sys/fs/cgroup"),
        PathBuf::from("/run/slicer-k3s-lab"),
    ];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if ours(&path.to_string_lossy()) {
                found.insert(path.display().to_string());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(path);
            }
        }
    }
    found
}

#[test]
#[ignore = "needs root; boots machines"]
fn down_leaves_nothing() {
    let before = traces();
    for _ in 0..2 {
        // Two at the same time: the same addresses, and one machine's worth of each is reachable.
        start("one", "leak-a");
        start("one", "leak-b");
        let during = traces();
        assert!(
            during.len() > before.len() + 20,
            "the test looks in the wrong places: {during:?}"
        );
        for fleet in ["leak-a", "leak-b"] {
            let login = "ssh -o StrictHostKeyChecking=accept-new alex@192.168.1.11 hostname";
            let told = run(&[
                "run",
                "--fleet",
                fleet,
                "workstation",
                "--",
                "su",
                "me",
                "-c",
                login,
            ]);
            assert_eq!(told, "n100\n");
        }
        run(&["down", "--fleet", "leak-a"]);
        // The other one lives on.
        let told = run(&["run", "--fleet", "leak-b", "n100", "--", "hostname"]);
        assert_eq!(told, "n100\n");
        run(&["down", "--fleet", "leak-b"]);
        let after = traces();
        assert_eq!(
            before,
            after,
            "left: {:?}",
            after.difference(&before).collect::<Vec<_>>()
        );
    }
}

#[test]
#[ignore = "needs root; boots machines"]
fn a_killed_up_is_cleared_away() {
    let before = traces();
    for delay in [100, 400, 900] {
        let arguments = up("three", "leak-c");
        let mut child = lab(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From the moment it is listed there is something to clear away.
        while !Path::new("/run/slicer-k3s-lab/fleets/leak-c").exists() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "up ended before it began"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        run(&["down", "--fleet", "leak-c"]);
        let after = traces();
        assert_eq!(
            before,
            after,
            "left: {:?}",
            after.difference(&before).collect::<Vec<_>>()
        );
    }
}
