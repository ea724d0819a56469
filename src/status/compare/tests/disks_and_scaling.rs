//! What stops all groups, and what fills up.

use serde_json::json;

use super::*;

/// One silent group kept all others from growing, and status said that the autoscaler runs.
#[test]
fn a_group_that_the_autoscaler_cannot_ask_is_named_as_long_as_it_is_configured() {
    let mut seen = healthy();
    seen.groups[2].1 = Err("401: unauthorized".into());
    assert_eq!(told(&seen), one("silent-group", "n100"));
    let drift = |seen: &Observed| compare(&plan(), seen).drift;
    assert!(drift(&seen)[0].mend.starts_with("slicer-k3s init"));
    let with = |seen: &mut Observed, change: fn(&mut Cluster)| {
        if let Ok(cluster) = &mut seen.cluster {
            change(cluster);
        }
    };
    with(&mut seen, |cluster| cluster.autoscaler = Some(false));
    assert!(
        drift(&seen)[0]
            .what
            .ends_with("scaling of all groups stops")
    );
    // `init` took it out.
    with(&mut seen, |cluster| cluster.scaled.truncate(1));
    assert_eq!(told(&seen), []);
    with(&mut seen, |cluster| {
        cluster.scaled.push("k3s-agents-2".into());
        cluster.autoscaler = None;
    });
    assert_eq!(told(&seen), [], "no autoscaler is deployed");
}

/// "No drift" was all there was to read of a server without disk, and a full host was what made the next `init` fail.
#[test]
fn full_disks_are_told_of_hosts_servers_and_nodes() {
    let mut seen = healthy();
    if let Ok(facts) = &mut seen.hosts[1].1 {
        facts.disk_free_bytes = 1_500_000_000;
    }
    seen.disks[1].1 = disk(1);
    assert_eq!(
        told(&seen),
        [one("disk-full", "ryzen"), one("disk-full", "k3s-cp-2")].concat()
    );
    let drift = compare(&plan(), &seen).drift;
    assert!(
        drift[0].what.starts_with("less than 2 GB"),
        "{}",
        drift[0].what
    );
    assert_eq!(drift[1].mend, "slicer-k3s exec k3s-cp-2 -- df -h");

    let mut pressed = healthy();
    // What the kubelet says itself is not told twice.
    pressed.disks[1].1 = disk(1);
    if let Ok(cluster) = &mut pressed.cluster {
        for (at, pressure) in [(1, "DiskPressure"), (3, "MemoryPressure")] {
            let conditions = cluster.nodes[at]["status"]["conditions"].as_array_mut();
            conditions
                .unwrap()
                .push(json!({"type": pressure, "status": "True"}));
        }
    }
    assert_eq!(
        told(&pressed),
        [
            one("node-pressure", "k3s-cp-2"),
            one("node-pressure", "k3s-agents-1-1-00ff00ff")
        ]
        .concat()
    );
    let drift = compare(&plan(), &pressed).drift;
    assert_eq!(drift[1].mend, "slicer-k3s exec k3s-agents-1-1 -- free -m");
}
