//! What is told beside drift.

use super::*;

/// All that is seen is compared with what the last run read, and that is said.
#[test]
fn a_cluster_toml_that_is_wrong_is_told_with_all_the_rest() {
    let mut seen = healthy();
    seen.mistakes = mistakes();
    assert_eq!(told(&seen), []);
    let text = render(&compare(&plan(), &seen));
    assert!(text.contains("1 mistake in cluster.toml"), "{text}");
    assert!(!text.contains("as cluster.toml says"), "{text}");
}

/// Right after a removal the autoscaler's order of before came in on top of the max, and went a minute later.
#[test]
fn vms_over_max_are_a_remark_while_they_join_and_drift_afterwards() {
    let mut seen = healthy();
    over_max(&mut seen, "2023-11-14T22:12:00Z");
    assert_eq!(told(&seen), []);
    let status = compare(&plan(), &seen);
    assert_eq!(
        status.remarks[0].what,
        "k3s-agents-1 has 5 VMs, and its max is 4"
    );
    assert!(render(&status).contains("note: ryzen: k3s-agents-1 has 5 VMs"));
    over_max(&mut seen, MADE);
    let status = compare(&plan(), &seen);
    assert_eq!((status.drift.len(), status.remarks), (1, vec![]));
    let drift = &status.drift[0];
    assert_eq!((&*drift.kind, &*drift.machine), ("vms-over-max", "ryzen"));
    assert!(PAGE.contains("\n| `vms-over-max` |"));
    // The youngest of those that are too many, which are all of one age here but for its place.
    assert!(drift.mend.contains("drain k3s-agents-1-"), "{}", drift.mend);
    // Young ones that fill the group up are no surplus of their own, and old ones are not excused by them.
    if let Ok(vms) = &mut seen.groups[1].1 {
        vms.pop();
        vms[3].created_at = Some("2023-11-14T22:12:00Z".into());
    }
    if let Ok(cluster) = &mut seen.cluster {
        cluster.nodes.pop();
    }
    assert_eq!(
        (told(&seen), compare(&plan(), &seen).remarks),
        (vec![], vec![])
    );
}
