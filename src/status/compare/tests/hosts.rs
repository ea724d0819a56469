//! Hosts that are off, refuse us, or are connected otherwise than before.

use super::*;
use crate::step_id::StepName;

/// A host that is off explains its groups, servers, Nodes and steps; only it is told, and what it does to others.
#[test]
fn a_host_that_is_off_is_told_once_and_that_it_may_stop_scaling() {
    let mut seen = healthy();
    let off = Failure::new(Code::SshUnreachable, "connection refused");
    seen.hosts[1].1 = Err(NotSeen::from(&off));
    seen.groups[1].1 = Err("ryzen is not connected".into());
    if let Ok(cluster) = &mut seen.cluster {
        cluster.nodes[3]["status"]["conditions"][0]["status"] = json!("Unknown");
    }
    let refused = Failure::new(Code::SshUnreachable, "ryzen is not connected");
    seen.steps
        .push(step(StepName::Routes, "ryzen", Err(refused.clone())));
    let mut reach = step(StepName::GroupReachable, "k3s-agents-1", Err(refused));
    reach.builds_on = vec![StepName::Routes.on("ryzen")];
    seen.steps.push(reach);
    let both = [
        one("host-unreachable", "ryzen"),
        one("silent-group", "ryzen"),
    ];
    assert_eq!(told(&seen), both.concat());
    let status = compare(&plan(), &seen);
    let silent = &status.drift[1];
    assert!(silent.what.contains("k3s-agents-1") && silent.what.contains("may stop"));
    assert!(
        silent
            .mend
            .starts_with("slicer-k3s init, which takes k3s-agents-1 out")
    );
    assert!(render(&status).contains("scaling may stop"));
}

/// One that lets us in, or whose key is not known yet, is on already.
#[test]
fn a_host_that_refuses_us_is_not_to_be_switched_on() {
    for (code, state, what) in [
        (Code::SshUnreachable, "OFF", "it does not answer: why"),
        (Code::Sudo, "needs sudo", "it cannot be looked at: why"),
        (
            Code::HostKeyUnknown,
            "refuses",
            "it cannot be looked at: why",
        ),
        (Code::Declined, "refuses", "it cannot be looked at: why"),
        (Code::SshLost, "SILENT", "it cannot be looked at: why"),
        (Code::LocalFile, "UNTRIED", "it cannot be looked at: why"),
    ] {
        let failure = Failure::new(code, "why").hint("ssh ryzen true");
        let mut seen = healthy();
        seen.hosts[1].1 = Err(NotSeen::from(&failure));
        let status = compare(&plan(), &seen);
        let drift = status.drift.iter();
        let mut told = drift.filter(|drift| drift.kind == "host-unreachable");
        let told = told.next().unwrap();
        assert_eq!(told.what, what, "{code:?}");
        let on = if code == Code::SshUnreachable {
            "switch ryzen on"
        } else {
            "ssh ryzen true"
        };
        assert!(told.mend.starts_with(on), "{code:?}: {}", told.mend);
        let text = render(&status);
        let row = text.lines().find(|line| line.starts_with("ryzen "));
        assert!(row.unwrap().contains(state), "{code:?}: {text}");
    }
}

#[test]
fn a_moved_host_and_a_changed_file_are_told() {
    let mut seen = healthy();
    let mut now = plan();
    now.hosts[1].lan_address = [192, 168, 1, 77].into();
    now.daemons[1].max = 9;
    seen.planned = Ok(now);
    let drift = compare(&plan(), &seen).drift;
    assert_eq!(drift[0].kind, "lan-address");
    assert!(drift[0].what.contains("192.168.1.77") && drift[0].what.contains("192.168.1.12"));
    assert_eq!(drift[0].mend, "slicer-k3s init");
    assert_eq!(drift[1].what, "k3s-agents-1: max is 4, to be 9");
}

#[test]
fn a_host_that_got_another_gateway_is_told() {
    let mut seen = healthy();
    let mut now = plan();
    now.hosts[1].behind = Some(crate::plan::NatGateway {
        gateway: "n100".into(),
        inner: [10, 20, 0, 1].into(),
    });
    seen.planned = Ok(now);
    let drift = compare(&plan(), &seen).drift;
    assert_eq!(
        (&*drift[0].kind, &*drift[0].machine),
        ("lan-address", "ryzen")
    );
    assert!(drift[0].what.contains("behind n100"), "{}", drift[0].what);
}
