//! A worker group that does not answer the autoscaler, and with that holds up the scaling of all the others.

use super::{add, facts, nodes};
use crate::plan::Plan;
use crate::status::document::Drift;
use crate::status::gather::Observed;

/// The kind of this drift.
pub(in crate::status) const KIND: &str = "silent-group";

/// Names each group that the autoscaler's configuration has and whose Slicer API did not answer.
///
/// None of its requests to Slicer has a limit of its own: `http.DefaultClient`, and `context.Background()` at each call. A connection
/// that it keeps to a host that vanished holds its loop up until TCP gives up, a new one for 30 s each. Refused requests are skipped
/// over while the group is idle; while it grows `Nodes()` fails, and each loop ends there for all groups. At a (re)start every group is
/// asked, and one that does not answer ends the program (`klog.Fatalf`), so that no group is scaled at all.
///
/// Source: kubernetes/autoscaler fork of Slicer @093de0a5, below cluster-autoscaler/:
/// `cloudprovider/slicer/slicer_cloud_provider.go` (lines 82–86, 214–218, 300–323), `cloudprovider/slicer/slicer_node_group.go`,
/// `clusterstate/clusterstate.go` (`UpdateNodes`, `updateScaleRequests`), `core/static_autoscaler.go` (`RunOnce`).
pub(super) fn silent(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) {
    let Ok(cluster) = &seen.cluster else { return };
    let Some(runs) = cluster.autoscaler else {
        return;
    };
    for daemon in plan.workers() {
        let (group, host) = (&daemon.group, &daemon.host);
        if !cluster.scaled.contains(group) || nodes::vms(seen, group).is_some() {
            continue;
        }
        let consequence = if runs {
            "scaling of all groups may stop"
        } else {
            "the autoscaler is not ready, and scaling of all groups stops"
        };
        let what = format!(
            "{group} is in the autoscaler's configuration and does not answer: {consequence}"
        );
        let mend = if facts(seen, host).is_some() {
            format!("slicer-k3s init, which repairs {group} or takes it out of that configuration")
        } else {
            format!(
                "slicer-k3s init, which takes {group} out of that configuration until {host} answers"
            )
        };
        add(drift, KIND, host, what, mend);
    }
}
