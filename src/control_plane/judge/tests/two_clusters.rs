//! Which of several clusters is the one.

use super::*;

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
