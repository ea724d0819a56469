//! Versions of k3s: servers against what was decided, agents against servers.

use super::*;
use crate::control_plane::{Installation, Upgrade, Versions};
use crate::k3s::Release;

const OLD: &str = "v1.34.4+k3s1";
const NEW: &str = "v1.34.5+k3s1";

/// The Node with this number runs this.
fn runs(seen: &mut Observed, number: usize, version: &str) {
    if let Ok(cluster) = &mut seen.cluster {
        cluster.nodes[number]["status"]["nodeInfo"]["kubeletVersion"] = json!(version);
    }
}

/// The servers say that they have (installed, running).
fn say(seen: &mut Observed, said: [(&str, &str); 3], upgrade: Option<&str>) {
    let servers = plan().servers.into_iter().zip(said).enumerate();
    let servers = servers.map(|(number, (server, (installed, running)))| {
        runs(seen, number, running);
        Installation {
            server: server.name,
            seen: true,
            installed: Release::parse(installed),
            running: Release::parse(running),
        }
    });
    let servers = servers.collect();
    let upgrade = upgrade.map(|to| Upgrade {
        from: OLD.into(),
        to: Release::parse(to).unwrap(),
        unseen: Vec::new(),
    });
    seen.versions = Ok(Versions { upgrade, servers });
}

fn only(seen: &Observed) -> Drift {
    told(seen);
    let mut drift = compare(&plan(), seen).drift;
    assert_eq!(drift.len(), 1, "{drift:?}");
    drift.remove(0)
}

/// `init` was named as what mends a newer server, and put the older k3s back.
#[test]
fn an_upgrade_is_told_once_and_not_as_each_servers_drift() {
    let mut seen = healthy();
    say(&mut seen, [(NEW, NEW); 3], Some(NEW));
    let drift = only(&seen);
    assert_eq!((&*drift.kind, &*drift.machine), ("k3s-version", "cluster"));
    assert!(
        drift.what.contains(NEW) && drift.what.contains(OLD),
        "{}",
        drift.what
    );
    assert_eq!(
        drift.mend,
        "slicer-k3s init takes it over; nothing restarts"
    );
    // Not by a run that would be refused.
    seen.planned = Err(vec![crate::plan::other_version(NEW, OLD).unwrap()]);
    let drift = compare(&plan(), &seen).drift;
    assert_eq!((drift.len(), &*drift[0].kind), (2, "config"));
    assert!(
        drift[0].mend.contains("`version = \"v1.34.5+k3s1\"`"),
        "{}",
        drift[0].mend
    );
    assert!(drift[1].mend.contains("cluster.toml"), "{}", drift[1].mend);
}

#[test]
fn servers_that_differ_are_told_as_init_refuses_them() {
    let mut seen = healthy();
    runs(&mut seen, 1, NEW);
    let hint = "slicer-k3s exec k3s-cp-1 -- …\nslicer-k3s init";
    seen.versions = Err(Failure::new(Code::K3sVersionsDiffer, "they differ").hint(hint));
    let drift = only(&seen);
    assert_eq!((&*drift.kind, &*drift.mend), ("k3s-versions-differ", hint));
    // Two clusters have other needs.
    seen.control_plane = Err(Failure::new(Code::TwoClusters, "two").hint("give one up"));
    assert_eq!(told(&seen), one("two-clusters", "cluster"));
}

#[test]
fn a_program_that_is_not_the_one_that_runs_is_told() {
    let mut seen = healthy();
    say(&mut seen, [(NEW, OLD), (NEW, NEW), (NEW, NEW)], Some(NEW));
    let drift = compare(&plan(), &seen).drift;
    assert_eq!((drift.len(), &*drift[1].machine), (2, "k3s-cp-1"));
    assert_eq!(
        drift[1].what,
        "k3s v1.34.5+k3s1 is installed, and v1.34.4+k3s1 still runs: it takes effect at the next restart"
    );
    assert_eq!(
        drift[1].mend,
        "slicer-k3s exec k3s-cp-1 -- systemctl restart k3s"
    );
    // The other way round its restart would run the older one; `init` installs what was decided.
    let mut behind = healthy();
    say(
        &mut behind,
        [("v1.34.3+k3s1", OLD), (OLD, OLD), (OLD, OLD)],
        None,
    );
    let drift = only(&behind);
    assert!(
        drift.what.contains("v1.34.3+k3s1 is installed"),
        "{}",
        drift.what
    );
    assert_eq!(drift.mend, "slicer-k3s init");
}

#[test]
fn a_server_of_another_version_is_mended_by_init_only_where_it_is_older() {
    let mut older = healthy();
    runs(&mut older, 1, "v1.34.3+k3s1");
    runs(&mut older, 3, "v1.34.3+k3s1");
    let drift = only(&older);
    assert_eq!(
        (&*drift.kind, &*drift.mend),
        ("k3s-version", "slicer-k3s init")
    );
    // Known from its Node alone.
    let mut newer = healthy();
    runs(&mut newer, 1, NEW);
    assert_eq!(
        only(&newer).mend,
        "slicer-k3s exec k3s-cp-2 -- k3s --version"
    );
}

/// Agents install what the stable channel says when they boot first, and so overtake servers that stay.
#[test]
fn agents_that_are_newer_than_a_server_are_told_with_what_upgrades_it() {
    let mut seen = healthy();
    say(
        &mut seen,
        [(OLD, OLD), (OLD, OLD), ("v1.36.0+k3s1", OLD)],
        None,
    );
    let mut same = healthy();
    runs(&mut same, 3, "v1.34.4+k3s2");
    assert_eq!(told(&same), [], "Kubernetes is the same");
    runs(&mut seen, 3, "v1.36.0+k3s1");
    let all = compare(&plan(), &seen);
    let drift = all
        .drift
        .iter()
        .find(|drift| drift.kind == "agent-newer")
        .unwrap();
    insta::assert_snapshot!(drift.what, @"agent k3s-agents-1-1-00ff00ff runs k3s v1.36.0+k3s1, newer than server k3s-cp-1 (v1.34.4+k3s1); Kubernetes supports no kubelet that is newer than an API server");
    insta::assert_snapshot!(drift.mend, @r"
    upgrade the servers, one after the other; each of these restarts k3s:
    slicer-k3s exec k3s-cp-1 -- sh -c 'curl -sfL https://get.k3s.io | INSTALL_K3S_CHANNEL=v1.35 INSTALL_K3S_EXEC=server sh -'
    slicer-k3s exec k3s-cp-1 -- sh -c 'curl -sfL https://get.k3s.io | INSTALL_K3S_VERSION=v1.36.0+k3s1 INSTALL_K3S_EXEC=server sh -'
    slicer-k3s exec k3s-cp-2 -- sh -c 'curl -sfL https://get.k3s.io | INSTALL_K3S_CHANNEL=v1.35 INSTALL_K3S_EXEC=server sh -'
    slicer-k3s exec k3s-cp-2 -- sh -c 'curl -sfL https://get.k3s.io | INSTALL_K3S_VERSION=v1.36.0+k3s1 INSTALL_K3S_EXEC=server sh -'
    slicer-k3s exec k3s-cp-3 -- systemctl restart k3s
    slicer-k3s init
    ");
    assert_eq!(all.skew.newest_agent.as_deref(), Some("v1.36.0+k3s1"));
}

#[test]
fn how_far_servers_may_move_ahead_of_the_oldest_agent_is_told() {
    let left = |agent: &str| {
        let mut seen = healthy();
        runs(&mut seen, 3, agent);
        let drift = told(&seen);
        let status = compare(&plan(), &seen);
        let text = render(&status);
        let line = text.lines().find(|line| line.starts_with("Agents may be"));
        (status.skew.minors_left, drift, line.map(str::to_owned))
    };
    let told = |agent: &str, rest: &str| {
        Some(format!(
            "Agents may be 3 minor versions older than servers; {agent} is the oldest,{rest}"
        ))
    };
    assert_eq!(left(OLD), (Some(3), vec![], None));
    assert_eq!(
        left("v1.34.2+k3s1"),
        (Some(3), vec![], told("v1.34.2+k3s1", ""))
    );
    assert_eq!(
        left("v1.33.9+k3s1"),
        (Some(2), vec![], told("v1.33.9+k3s1", ""))
    );
    assert_eq!(
        left("v1.31.1+k3s1"),
        (Some(0), vec![], told("v1.31.1+k3s1", ""))
    );
    let (minors, drift, _) = left("v1.30.1+k3s1");
    assert_eq!(
        (minors, drift),
        (Some(-1), one("agent-older", "k3s-agents-1-1-00ff00ff"))
    );
    let nobody = compare(&plan(), &{
        let mut seen = healthy();
        if let Ok(cluster) = &mut seen.cluster {
            cluster.nodes.pop();
        }
        seen
    });
    assert_eq!(nobody.skew, crate::status::Skew::default());
}
