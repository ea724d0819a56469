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

/// What a killed run of `--give-up` leaves, and what a broken disk does.
#[test]
fn certificates_of_another_cluster_are_never_taken_for_this_ones() {
    let list: Option<&[i8]> = Some(&[2, 3]);
    let left = Observed::Answers(Held {
        ca: Some(NEW.into()),
        ..Held::default()
    });
    let found = clear(ALL, [left, data(OLD, list), data(OLD, list)]);
    assert_eq!(found.set_aside, [("k3s-cp-1".to_owned(), true)].into());
    assert_eq!(starts(&found)[0], join(2, true));
    let without = Observed::Answers(Held {
        data: true,
        ..Held::default()
    });
    let refusal = refused(ALL, [without, data(OLD, list), data(OLD, list)]);
    assert_eq!(refusal.failure.code, Code::TwoClusters);
}

#[test]
fn a_cluster_whose_data_is_all_gone_is_not_founded_again() {
    let refusal = refused(ALL, [empty(), Observed::Nothing, empty()]);
    assert_eq!(refusal.failure.code, Code::ClusterLost);
    let hint = refusal.failure.hint.unwrap();
    assert!(hint.contains("--force-new-cluster=home"), "{hint}");
    let mut plan = recorded(Some((OLD, &[1])));
    plan.servers.truncate(1);
    let one = vec![(plan.servers[0].clone(), empty())];
    assert!(matches!(judge(&plan, &one, &[]), Judgement::Refused(_)));
}

#[test]
fn two_clusters_are_refused_until_one_is_given_up() {
    let both = || {
        let list: Option<&[i8]> = Some(&[1, 2, 3]);
        [data(NEW, Some(&[1])), data(OLD, list), data(OLD, list)]
    };
    for record in [None, ALL] {
        let refusal = refused(record, both());
        assert_eq!(refusal.failure.code, Code::TwoClusters);
        let hint = refusal.failure.hint.unwrap();
        assert!(
            hint.contains("\nslicer-k3s init --give-up k3s-cp-1"),
            "{hint}"
        );
        assert!(
            hint.contains("\nslicer-k3s init --give-up k3s-cp-2 --give-up k3s-cp-3"),
            "{hint}"
        );
    }
    let plan = recorded(ALL);
    let given_up = |names: &[&str], observed: [Observed; 3]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        judge(&plan, &seen(&plan, observed), &names)
    };
    let Judgement::Clear(one) = given_up(&["k3s-cp-1"], both()) else {
        panic!("refused");
    };
    assert_eq!(starts(&one), [join(2, true), Start::Member, Start::Member]);
    assert_eq!(one.set_aside, [("k3s-cp-1".to_owned(), true)].into());
    // Also where the wrong one went on record.
    let wrong = recorded(Some((NEW, &[1])));
    let names = ["k3s-cp-1".to_owned()];
    let Judgement::Clear(other) = judge(&wrong, &seen(&wrong, both()), &names) else {
        panic!("refused");
    };
    assert_eq!(starts(&other), starts(&one));
    assert_eq!(other.founded.unwrap().ca, OLD);
    // Nothing is moved aside that nobody else could give back.
    let alone = given_up(&["k3s-cp-1"], [data(NEW, Some(&[1])), empty(), empty()]);
    assert!(matches!(alone, Judgement::Refused(_)));
    let unseen = given_up(
        &["k3s-cp-1"],
        [off(), data(OLD, Some(&[2, 3])), data(OLD, Some(&[2, 3]))],
    );
    assert!(matches!(unseen, Judgement::Refused(_)));
}

/// A member that is being added shows in one list a moment before it shows in another.
#[test]
fn lists_of_one_cluster_that_differ_may_agree_in_a_moment() {
    let lists = [
        data(OLD, Some(&[1, 2])),
        data(OLD, Some(&[1, 2, -3])),
        empty(),
    ];
    let refusal = refused(ALL, lists);
    assert!(refusal.passes && refusal.failure.code == Code::TwoClusters);
}

/// Whoever renewed the CA everywhere has one cluster; whoever did on some has lost sight of it.
#[test]
fn another_ca_than_the_one_on_record_counts_only_where_all_agree() {
    let list: Option<&[i8]> = Some(&[1, 2, 3]);
    let renewed = clear(ALL, [data(NEW, list), data(NEW, list), data(NEW, list)]);
    assert!(renewed.other_ca && !renewed.remarks().is_empty());
    assert_eq!(renewed.founded.unwrap().ca, NEW);
    let refusal = refused(ALL, [data(NEW, Some(&[1])), off(), off()]);
    assert_eq!(refusal.failure.code, Code::TwoClusters);
}

#[test]
fn a_new_cluster_takes_the_place_of_the_old_one_only_where_every_server_is_seen() {
    let plan = recorded(ALL);
    let observed = [data(OLD, None), data(NEW, None), Observed::Nothing];
    let Judgement::Clear(new) = judge_new(&plan, &seen(&plan, observed)) else {
        panic!("refused");
    };
    assert_eq!(starts(&new), [Start::Found, join(1, false), join(1, false)]);
    assert_eq!(
        new.set_aside,
        [("k3s-cp-1".to_owned(), true), ("k3s-cp-2".to_owned(), true),].into()
    );
    assert_eq!(
        (new.founded, new.without_disk),
        (None, vec!["k3s-cp-3".to_owned()])
    );
    for away in [off(), Observed::Stopped] {
        let observed = [data(OLD, None), empty(), away];
        assert!(matches!(
            judge_new(&plan, &seen(&plan, observed)),
            Judgement::Refused(_)
        ));
    }
}
