//! What a person gives up: single servers' data, or the whole cluster's. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judgement, ServerState};
use crate::control_plane::ask::Observed;
use crate::control_plane::held::Held;
use crate::control_plane::refusals::{self, Refusal};
use crate::control_plane::start::{ControlPlane, Start};
use crate::plan::{Plan, Server};

/// Judges what was seen; what servers in `give_up` hold is given up.
pub fn judge(plan: &Plan, seen: &[(Server, Observed)], give_up: &[String]) -> Judgement {
    if let Some(refusal) = refusals::sqlite(seen) {
        return Judgement::Refused(Box::new(refusal));
    }
    match judged(plan, seen, give_up) {
        Ok(control_plane) => Judgement::Clear(control_plane),
        Err(refusal) => Judgement::Refused(refusal),
    }
}

/// Judges what was seen where a new cluster is to take the place of whatever the servers hold.
pub fn judge_new(plan: &Plan, seen: &[(Server, Observed)]) -> Judgement {
    // With `cluster-init` k3s would copy what is in it into the new cluster.
    if let Some(refusal) = refusals::sqlite(seen) {
        return Judgement::Refused(Box::new(refusal));
    }
    let silent = |observed: &Observed| !observed.is_empty() && observed.data().is_none();
    let away: Vec<&(Server, Observed)> = seen.iter().filter(|(_, seen)| silent(seen)).collect();
    if !away.is_empty() {
        return Judgement::Refused(Box::new(refusals::unreachable(plan, &away)));
    }
    // The certificates, too: a new cluster has a CA of its own, by which it is told from the old one.
    let holds = |observed: &Observed| matches!(observed, Observed::Answers(held) if held.data || held.ca.is_some());
    let set_aside = seen.iter().filter(|(_, observed)| holds(observed));
    let set_aside = set_aside.map(|(server, _)| (server.name.clone(), true));
    Judgement::Clear(ControlPlane {
        founded: None,
        starts: founding(plan),
        set_aside: set_aside.collect(),
        without_disk: without_disk(plan, seen),
        ..ControlPlane::default()
    })
}

/// The first server founds, the others join it.
pub(super) fn founding(plan: &Plan) -> BTreeMap<String, Start> {
    let mut servers = plan.servers.iter();
    let Some(first) = servers.next() else {
        return BTreeMap::new();
    };
    let join = servers.map(|server| {
        let via = first.name.clone();
        (server.name.clone(), Start::Join { via, stale: false })
    });
    std::iter::once((first.name.clone(), Start::Found))
        .chain(join)
        .collect()
}

/// Servers of a cluster that was founded whose VM has neither a process nor a disk.
fn without_disk(plan: &Plan, seen: &[(Server, Observed)]) -> Vec<String> {
    if plan.founded.is_none() {
        return Vec::new();
    }
    let gone = seen.iter().filter(|(_, seen)| *seen == Observed::Nothing);
    gone.map(|(server, _)| server.name.clone()).collect()
}

fn judged(
    plan: &Plan,
    seen: &[(Server, Observed)],
    give_up: &[String],
) -> Result<ControlPlane, Box<Refusal>> {
    let mut abandoned: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut servers = Vec::new();
    for (server, observed) in seen {
        let mut observed = observed.clone();
        if give_up.contains(&server.name) {
            let Observed::Answers(held) = observed else {
                let away = [&(server.clone(), observed)];
                return Err(Box::new(refusals::unreachable(plan, &away)));
            };
            if held.data {
                abandoned.insert(server.name.clone(), held.ca);
            }
            observed = Observed::Answers(Held::default());
        }
        servers.push((server, observed));
    }
    // Where the one on record is given up, the other is not held against it.
    let cas: BTreeSet<&String> = abandoned.values().flatten().collect();
    let recorded = plan.founded.as_ref();
    let recorded = recorded.filter(|founded| !cas.contains(&founded.ca));
    let judged = ServerState {
        plan,
        recorded,
        servers,
    };
    let mut control_plane = judged.judge()?;
    if !abandoned.is_empty() {
        // Only what another server can give back is moved aside.
        let given_back = |name: &String| matches!(control_plane.start(name), Start::Join { .. });
        let alone = abandoned.keys().find(|name| !given_back(name));
        if let Some(server) = alone {
            return Err(Box::new(refusals::nobody_else(plan, server)));
        }
    }
    if let Some(founded) = &control_plane.founded {
        let foreign = |ca: &Option<String>| ca.as_ref() != Some(&founded.ca);
        let moved = abandoned
            .iter()
            .map(|(name, ca)| (name.clone(), foreign(ca)));
        // Certificates of another cluster that lie on an empty server: it was given up, and the run killed.
        let left = seen.iter().filter_map(|(server, observed)| match observed {
            Observed::Answers(held) if !held.data && held.ca.is_some() && foreign(&held.ca) => {
                Some((server.name.clone(), true))
            }
            _ => None,
        });
        control_plane.set_aside = left.chain(moved).collect();
    }
    // What was given up may still be known to the others.
    for name in control_plane.set_aside.keys() {
        if let Some(Start::Join { stale, .. }) = control_plane.starts.get_mut(name) {
            *stale = true;
        }
    }
    control_plane.without_disk = without_disk(plan, seen);
    Ok(control_plane)
}
