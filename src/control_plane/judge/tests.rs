mod two_clusters;

use super::*;
use crate::failure::{Code, Failure};
use crate::testing::plan;

const OLD: &str = "aaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbb";

/// A member of each of these servers, 1 to 3; a negative number is a learner.
fn members(servers: &[i8]) -> Vec<Member> {
    servers
        .iter()
        .map(|n| Member {
            id: n.unsigned_abs().into(),
            name: format!("k3s-cp-{}-00aa11bb", n.abs()),
            peer_urls: vec![format!("https://192.168.137.{}:2380", n.abs() + 1)],
            learner: *n < 0,
        })
        .collect()
}

fn data(ca: &str, list: Option<&[i8]>) -> Observed {
    Observed::Answers(Held {
        data: true,
        ca: Some(ca.into()),
        written: Some(600),
        bytes: Some(4 << 20),
        members: list.map(members),
        ..Held::default()
    })
}

fn empty() -> Observed {
    Observed::Answers(Held::default())
}

fn off() -> Observed {
    Observed::Unreachable(Failure::new(Code::SshUnreachable, "no route to host"))
}

fn booting() -> Observed {
    Observed::Silent("its agent does not answer".into())
}

const UNDECIDED: [Start; 3] = [Start::Undecided, Start::Undecided, Start::Undecided];

/// A plan of three servers, on record as this cluster with these voters.
fn recorded(record: Option<(&str, &[i8])>) -> Plan {
    let mut plan = plan();
    plan.founded = record.map(|(ca, voters)| Founded {
        ca: ca.into(),
        voters: voters.iter().map(|n| format!("k3s-cp-{n}")).collect(),
    });
    plan
}

fn seen(plan: &Plan, observed: [Observed; 3]) -> Vec<(Server, Observed)> {
    plan.servers.iter().cloned().zip(observed).collect()
}

fn clear(record: Option<(&str, &[i8])>, observed: [Observed; 3]) -> ControlPlane {
    let plan = recorded(record);
    match judge(&plan, &seen(&plan, observed), &[]) {
        Judgement::Clear(control_plane) => control_plane,
        Judgement::Refused(refusal) => panic!("{}", refusal.failure),
    }
}

fn refused(record: Option<(&str, &[i8])>, observed: [Observed; 3]) -> Refusal {
    let plan = recorded(record);
    match judge(&plan, &seen(&plan, observed), &[]) {
        Judgement::Clear(control_plane) => panic!("{control_plane:?}"),
        Judgement::Refused(refusal) => *refusal,
    }
}

fn starts(control_plane: &ControlPlane) -> [Start; 3] {
    [1, 2, 3].map(|n| control_plane.start(&format!("k3s-cp-{n}")).clone())
}

fn join(via: i8, stale: bool) -> Start {
    Start::Join {
        via: format!("k3s-cp-{via}"),
        stale,
    }
}

const ALL: Option<(&str, &[i8])> = Some((OLD, &[1, 2, 3]));

#[test]
fn the_first_server_founds_only_where_every_other_one_says_that_it_has_nothing() {
    let founding = [Start::Found, join(1, false), join(1, false)];
    let nothing = || Observed::Nothing;
    assert_eq!(
        starts(&clear(None, [nothing(), nothing(), nothing()])),
        founding
    );
    assert_eq!(
        starts(&clear(None, [empty(), nothing(), empty()])),
        founding
    );
    // One that boots may turn out to have been a member.
    for other in [Observed::Stopped, Observed::Silent("booting".into())] {
        let found = clear(None, [empty(), empty(), other]);
        assert_eq!(
            starts(&found),
            [Start::Undecided, Start::Undecided, Start::Undecided]
        );
    }
    let refusal = refused(None, [empty(), empty(), off()]);
    assert_eq!(refusal.failure.code, Code::QuorumLost);
    assert!(
        refusal.failure.to_string().contains("k3s-cp-3"),
        "{}",
        refusal.failure
    );
}

/// "Quorum lost" would send a person to servers that are fine.
#[test]
fn servers_behind_one_api_that_fails_are_refused_with_its_failure() {
    let hint = "on n100: sudo journalctl -u slicer-k3s-cp -n 30";
    let api = Failure::new(
        Code::SlicerApi,
        "Slicer's API of k3s-cp on n100 did not do it",
    )
    .because("500: broken")
    .hint(hint);
    let behind = || Observed::Unreachable(api.clone());
    let failure = refused(None, [behind(), behind(), behind()]).failure;
    assert_eq!(failure.code, Code::SlicerApi);
    assert!(failure.to_string().contains("500: broken"), "{failure}");
    assert!(failure.hint.unwrap().starts_with(hint));
    let mixed = refused(None, [behind(), behind(), off()]).failure;
    assert_eq!(mixed.code, Code::QuorumLost);
}

/// The worst that this program could do: found an empty cluster beside the one that holds everything.
#[test]
fn a_first_server_that_lost_its_data_joins_the_others() {
    let all: Option<&[i8]> = Some(&[1, 2, 3]);
    let lost = clear(ALL, [empty(), data(OLD, all), data(OLD, all)]);
    assert_eq!(starts(&lost), [join(2, true), Start::Member, Start::Member]);
    assert_eq!(
        lost.founded.as_ref().map(|founded| founded.ca.as_str()),
        Some(OLD)
    );
    // Not on record yet, as earlier releases left it; and with a server's host off.
    let lost = clear(None, [empty(), off(), data(OLD, all)]);
    assert_eq!(
        starts(&lost),
        [join(3, true), Start::Undecided, Start::Member]
    );
    // Its VM and disk are gone: Slicer makes new ones.
    let lost = clear(ALL, [Observed::Nothing, data(OLD, all), data(OLD, all)]);
    assert_eq!(lost.without_disk, ["k3s-cp-1"]);
    let other = clear(ALL, [data(OLD, all), empty(), data(OLD, all)]);
    assert_eq!(
        starts(&other),
        [Start::Member, join(1, true), Start::Member]
    );
}

#[test]
fn a_killed_first_run_goes_on() {
    // The first server is up, or about to be; the others were about to join.
    let up = clear(None, [data(OLD, Some(&[1])), empty(), Observed::Nothing]);
    assert_eq!(starts(&up), [Start::Member, join(1, false), join(1, false)]);
    let starting = clear(None, [data(OLD, None), empty(), empty()]);
    assert_eq!(
        starts(&starting),
        [Start::Member, join(1, false), join(1, false)]
    );
    assert_eq!(starting.founded, None);
    // Where its first start was cut short it may begin again; a server that voted never does.
    assert_eq!(starting.newcomers, ["k3s-cp-1".to_owned()].into());
    assert!(up.newcomers.is_empty());
    // A learner that lost its disk is still in the list.
    let learner = clear(None, [data(OLD, Some(&[1, -2])), empty(), empty()]);
    assert_eq!(
        starts(&learner),
        [Start::Member, join(1, true), join(1, false)]
    );
    assert_eq!(
        learner.founded.unwrap().voters,
        ["k3s-cp-1".to_owned()].into()
    );
}

#[test]
fn without_a_quorum_nothing_is_changed_and_what_helps_is_said() {
    let refusal = refused(ALL, [empty(), empty(), data(OLD, None)]);
    let failure = &refusal.failure;
    assert_eq!(failure.code, Code::QuorumLost);
    assert!(
        !refusal.passes
            && failure
                .to_string()
                .contains("k3s-cp-3 has the data, last written 10 min ago")
    );
    insta::assert_snapshot!(failure.hint.as_ref().unwrap(), @r"
    to go on with what k3s-cp-3 holds alone, and nothing newer (the others join it again):
    slicer-k3s exec k3s-cp-3 -- systemctl stop k3s
    slicer-k3s exec k3s-cp-3 -- sed -i.before-reset '/^server:/d' /etc/rancher/k3s/config.yaml
    slicer-k3s exec k3s-cp-3 -- k3s server --cluster-reset
    slicer-k3s exec k3s-cp-3 -- mv /etc/rancher/k3s/config.yaml.before-reset /etc/rancher/k3s/config.yaml
    slicer-k3s exec k3s-cp-3 -- systemctl start k3s
    slicer-k3s init
    ");
    // What earlier releases left has no record: all three are taken for voters.
    let refusal = refused(None, [empty(), empty(), data(OLD, None)]);
    assert_eq!(refusal.failure.code, Code::QuorumLost);
    // Two that are off may be a quorum: the empty one waits for them.
    let waiting = clear(ALL, [empty(), Observed::Stopped, off()]);
    assert_eq!(starts(&waiting), UNDECIDED);
    let refusal = refused(ALL, [empty(), Observed::Nothing, off()]);
    assert_eq!(refusal.failure.code, Code::QuorumLost);
    // All that are there start, and nobody is known to be empty.
    let starting = [data(OLD, None), data(OLD, None), booting()];
    let starting = clear(ALL, starting);
    assert_eq!(
        starts(&starting),
        [Start::Member, Start::Member, Start::Undecided]
    );
}

/// A disk that was just made answers late: to take it for the old one gave a first server `cluster-init` and an empty disk.
#[test]
fn a_server_that_does_not_answer_yet_is_taken_for_nothing() {
    let list: Option<&[i8]> = Some(&[1, 2, 3]);
    for (record, others) in [
        (None, [data(OLD, None), off()]),
        (ALL, [data(OLD, None), empty()]),
        (Some((OLD, &[1][..])), [data(OLD, None), off()]),
        (ALL, [data(OLD, list), data(OLD, list)]),
    ] {
        let [second, third] = others;
        let found = clear(record, [booting(), second, third]);
        assert_eq!(starts(&found)[0], Start::Undecided);
    }
}

/// A run that was killed before it put the others on record.
#[test]
fn an_older_record_condemns_nobody() {
    let record: Option<(&str, &[i8])> = Some((OLD, &[1]));
    let found = clear(record, [empty(), booting(), booting()]);
    assert_eq!(starts(&found), UNDECIDED);
    let found = clear(Some((OLD, &[])), [empty(), off(), off()]);
    assert_eq!(starts(&found), UNDECIDED);
    let found = clear(Some((OLD, &[2, 3])), [booting(), empty(), booting()]);
    assert_eq!(starts(&found), UNDECIDED);
    assert_eq!(
        refused(Some((OLD, &[])), [empty(), empty(), empty()])
            .failure
            .code,
        Code::ClusterLost
    );
}

/// A server alone may be the second cluster: it goes on record when all others were asked.
#[test]
fn a_single_server_goes_on_record_only_where_the_others_were_asked() {
    let alone = |others: [Observed; 2]| {
        let [second, third] = others;
        clear(None, [data(OLD, Some(&[1])), second, third]).founded
    };
    assert_eq!(alone([off(), empty()]), None);
    assert!(alone([empty(), Observed::Nothing]).is_some());
}

/// `curl get.k3s.io | sh` on a server's VM: its cluster was taken for leftovers, stopped, and its certificates moved away.
#[test]
fn a_cluster_in_sqlite_is_refused_whatever_the_others_hold_and_a_person_gives_up() {
    let list: Option<&[i8]> = Some(&[1, 3]);
    let sqlite = || {
        Observed::Answers(Held {
            sqlite: true,
            ca: Some(NEW.into()),
            ..Held::default()
        })
    };
    assert!(!sqlite().is_empty() && sqlite().data().is_none());
    for record in [None, ALL] {
        for others in [
            [data(OLD, list), data(OLD, list)],
            [empty(), Observed::Nothing],
            [off(), booting()],
        ] {
            let plan = recorded(record);
            let [first, third] = others;
            let seen = seen(&plan, [first, sqlite(), third]);
            let names = ["k3s-cp-2".to_owned()];
            for judgement in [
                judge(&plan, &seen, &[]),
                judge(&plan, &seen, &names),
                judge_new(&plan, &seen),
            ] {
                let Judgement::Refused(refusal) = judgement else {
                    panic!("{judgement:?}");
                };
                assert!(refusal.failure.code == Code::Sqlite && !refusal.passes);
                let failure = refusal.failure.to_string();
                assert!(failure.contains("k3s-cp-2"), "{failure}");
            }
        }
    }
}
