use super::*;
use crate::control_plane::Held;
use crate::testing::plan;

const OLD: &str = "v1.34.4+k3s1";
const NEW: &str = "v1.34.5+k3s1";
const NEXT: &str = "v1.35.1+k3s1";

/// A server with this installed, and that running.
fn has(installed: &str, running: &str) -> Observed {
    Observed::Answers(Held {
        data: true,
        installed: Release::parse(installed),
        running: Release::parse(running),
        ..Held::default()
    })
}

fn off() -> Observed {
    Observed::Unreachable(Failure::new(Code::SshUnreachable, "no route to host"))
}

/// Judged where v1.34.4+k3s1 was decided.
fn judged(observed: [Observed; 3]) -> Result<Versions, Failure> {
    let plan = plan();
    let seen: Vec<_> = plan.servers.iter().cloned().zip(observed).collect();
    judge_versions(&plan, &seen)
}

fn taken_over(observed: [Observed; 3]) -> Option<String> {
    let versions = judged(observed).unwrap_or_else(|failure| panic!("{failure}"));
    versions.upgrade.map(|upgrade| upgrade.to.to_string())
}

#[test]
fn what_is_not_newer_than_decided_changes_nothing() {
    let old = || has(OLD, OLD);
    for observed in [
        [old(), old(), old()],
        [Observed::Nothing, Observed::Nothing, Observed::Nothing],
        // Older and missing ones are installed as decided.
        [has("v1.34.3+k3s1", "v1.34.3+k3s1"), old(), has("", "")],
        [old(), off(), Observed::Stopped],
    ] {
        assert_eq!(taken_over(observed), None);
    }
}

#[test]
fn an_upgrade_of_all_servers_is_taken_over() {
    let new = || has(NEW, NEW);
    let to = |observed| taken_over(observed).unwrap();
    assert_eq!(to([new(), new(), new()]), NEW);
    let newer = || has("v1.34.4+k3s10", "v1.34.4+k3s10");
    assert_eq!(to([newer(), newer(), newer()]), "v1.34.4+k3s10");
    // One that joins later gets it.
    assert_eq!(to([new(), Observed::Nothing, has("", "")]), NEW);
    // The program counts, whatever still runs.
    assert_eq!(to([has(NEXT, OLD), has(NEXT, ""), has(NEXT, NEXT)]), NEXT);
    let with_one_off = judged([new(), new(), off()]).unwrap().upgrade.unwrap();
    assert_eq!(with_one_off.unseen, ["k3s-cp-3"]);
    assert_eq!(
        with_one_off.why(),
        "the servers were upgraded; it was v1.34.4+k3s1 (k3s-cp-3 did not answer, and gets it later)"
    );
}

#[test]
fn servers_of_different_versions_are_refused_with_what_each_needs() {
    let failure = judged([has(OLD, OLD), has(NEW, OLD), has("", "")]).unwrap_err();
    assert_eq!(failure.code, Code::K3sVersionsDiffer);
    assert_eq!(
        (failure.code.exit_code(), failure.is_permanent()),
        (1, true)
    );
    insta::assert_snapshot!(failure.to_string(), @"the servers have different versions of k3s: k3s-cp-1 has v1.34.4+k3s1; k3s-cp-2 has v1.34.5+k3s1 installed and runs v1.34.4+k3s1; k3s-cp-3 has none; v1.34.4+k3s1 was decided, and nothing newer is replaced by it");
    insta::assert_snapshot!(failure.hint.unwrap(), @r"
    bring every server to v1.34.5+k3s1; one after the other, as each of these restarts k3s:
    slicer-k3s exec k3s-cp-1 -- sh -c 'curl -sfL https://get.k3s.io | INSTALL_K3S_VERSION=v1.34.5+k3s1 INSTALL_K3S_EXEC=server sh -'
    slicer-k3s init
    ");
    // As a run of an earlier release left it: the older program under the newer process, on every server.
    let undone = judged([has(OLD, NEW), has(OLD, NEW), has(OLD, NEW)]).unwrap_err();
    assert!(
        undone
            .to_string()
            .contains("k3s-cp-1 has v1.34.4+k3s1 installed and runs v1.34.5+k3s1")
    );
    let hint = undone.hint.unwrap();
    assert_eq!(
        hint.matches("INSTALL_K3S_VERSION=v1.34.5+k3s1").count(),
        3,
        "{hint}"
    );
}

/// One server of three says nothing about the two that cannot be asked.
#[test]
fn too_few_servers_decide_nothing() {
    let failure = judged([has(NEW, NEW), off(), Observed::Silent("booting".into())]).unwrap_err();
    assert_eq!(failure.code, Code::K3sVersionsDiffer);
    insta::assert_snapshot!(failure.to_string(), @"it is not known whether all servers were upgraded: k3s-cp-1 has v1.34.5+k3s1; k3s-cp-2 does not answer; k3s-cp-3 does not answer; v1.34.4+k3s1 was decided, and nothing newer is replaced by it");
    insta::assert_snapshot!(failure.hint.unwrap(), @"bring k3s-cp-2 and k3s-cp-3 up, then run again: a version is taken over where more than half of the servers can be asked");
}

#[test]
fn a_newer_program_under_an_older_process_is_said() {
    let versions = judged([has(NEW, OLD), has(NEW, NEW), has(NEW, "")]).unwrap();
    let remark = "k3s v1.34.5+k3s1 is installed, and v1.34.4+k3s1 still runs: it takes effect at the next restart";
    assert_eq!(
        versions.remarks(),
        [("k3s-cp-1".to_owned(), remark.to_owned())]
    );
}

/// The step that installs refuses what cannot be compared; the survey goes on.
#[test]
fn a_decided_version_that_is_no_release_is_older_than_nothing() {
    let mut plan = plan();
    plan.k3s.version = "v1.34.4+k3s-1a2b3c4d".into();
    let seen = plan
        .servers
        .iter()
        .map(|server| (server.clone(), has(NEW, NEW)));
    assert_eq!(
        judge_versions(&plan, &seen.collect::<Vec<_>>())
            .unwrap()
            .upgrade,
        None
    );
}
