//! Why nothing may be changed, and what brings the cluster back.

use super::ask::Observed;
use super::judge::Side;
use super::sqlite::in_sqlite;
use crate::failure::{Code, Failure};
use crate::plan::{Founded, Plan, Server};

/// Why nothing may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub failure: Failure,
    /// Whether it may be over in a moment, as a member list that just changes is.
    pub passes: bool,
    /// The clusters that were seen, where there are several.
    pub sides: Vec<Side>,
}

impl Refusal {
    fn of(failure: Failure) -> Self {
        Self {
            failure: failure.permanent(),
            passes: false,
            sides: Vec::new(),
        }
    }
}

/// Servers keep a cluster in SQLite.
pub(super) fn sqlite(seen: &[(Server, Observed)]) -> Option<Refusal> {
    let held = seen.iter().filter_map(|(server, observed)| match observed {
        Observed::Answers(held) => Some((server.name.as_str(), held)),
        _ => None,
    });
    in_sqlite(held).map(Refusal::of)
}

/// Servers hold data of several clusters.
pub(super) fn two_clusters(plan: &Plan, sides: Vec<Side>) -> Refusal {
    let hint: Vec<String> = sides.iter().map(give_up).collect();
    let failure = Failure::new(
        Code::TwoClusters,
        format!("the servers of {} hold {} clusters", plan.cluster, sides.len()),
    )
    .because(listed(sides.iter().map(side)))
    .hint(format!(
        "one of them has to be given up; its data is moved aside, not deleted, and its servers join the other:\n{}",
        hint.join("\n")
    ));
    let mut cas: Vec<_> = sides.iter().map(|side| &side.ca).collect();
    cas.sort();
    cas.dedup();
    Refusal {
        // Lists of one cluster differ for the moment in which a member comes or goes.
        passes: cas.len() < sides.len(),
        sides,
        ..Refusal::of(failure)
    }
}

/// What one side holds, in a few words.
pub(super) fn side(side: &Side) -> String {
    let servers = listed(side.servers.iter().cloned());
    let members = side.members.as_ref();
    let members = members.map_or_else(
        || "no quorum".to_owned(),
        |members| counted(members.len(), "etcd member"),
    );
    format!("{servers}: CA {}, {members}", short(side.ca.as_deref()))
}

fn give_up(side: &Side) -> String {
    let flags: Vec<String> = side
        .servers
        .iter()
        .map(|server| format!("--give-up {server}"))
        .collect();
    format!("slicer-k3s init {}", flags.join(" "))
}

/// What was seen is not the cluster that is on record.
pub(super) fn another_cluster(plan: &Plan, founded: &Founded, seen: &Side) -> Refusal {
    let failure = Failure::new(
        Code::TwoClusters,
        format!("the servers of {} hold another cluster than the one on record", plan.cluster),
    )
    .because(format!(
        "{}; the one on record has CA {}",
        side(seen),
        short(Some(&founded.ca))
    ))
    .hint(format!(
        "start the servers that still hold the one on record, then run again; to go on with what is there instead: \
         slicer-k3s import --force; to give up {}:\n{}",
        listed(seen.servers.iter().cloned()),
        give_up(seen)
    ));
    Refusal {
        sides: vec![seen.clone()],
        ..Refusal::of(failure)
    }
}

/// Servers that cannot be asked, where a cluster is to be founded or data to be moved aside. Where Slicer's API is all that is in
/// the way, its failure keeps its code and hint.
pub(super) fn unreachable(plan: &Plan, away: &[&(Server, Observed)]) -> Refusal {
    let names = listed(away.iter().map(|(server, _)| server.name.clone()));
    let what = format!("{names} cannot be asked whether a cluster is there already");
    let why = format!("a second cluster would be founded beside one that {names} may hold");
    let mut failures = away.iter().filter_map(|(_, observed)| match observed {
        Observed::Unreachable(failure) => Some(failure),
        _ => None,
    });
    if let Some(first) = failures.next()
        && [Code::SlicerApi, Code::SlicerToken].contains(&first.code)
        && failures.all(|failure| failure == first)
        && let Some(hint) = &first.hint
    {
        let hint = format!("{hint}; then run again: {why}");
        return Refusal::of(Failure::new(first.code, what).because(first).hint(hint));
    }
    let whys = away
        .iter()
        .map(|(server, observed)| state(server, observed));
    Refusal::of(
        Failure::new(Code::QuorumLost, what)
            .because(listed(whys))
            .hint(format!(
                "bring {} up, then run again: {why}",
                listed(hosts(plan, away).into_iter())
            )),
    )
}

/// Nobody else could give back what a server holds.
pub(super) fn nobody_else(plan: &Plan, server: &str) -> Refusal {
    Refusal::of(
        Failure::new(
            Code::QuorumLost,
            format!("what {server} holds cannot be given up"),
        )
        .because("no quorum answers through another server that it could join")
        .hint(format!(
            "slicer-k3s status shows what each server holds; a new, empty cluster in the place of all: slicer-k3s init \
             --force-new-cluster={}",
            plan.cluster
        )),
    )
}

/// All of the cluster's data is gone.
pub(super) fn cluster_lost(plan: &Plan, founded: &Founded) -> Refusal {
    let voters = listed(founded.voters.iter().cloned());
    Refusal::of(
        Failure::new(
            Code::ClusterLost,
            format!("no server of {} has the cluster's data any more", plan.cluster),
        )
        .because(format!(
            "it was founded (CA {}) and its etcd was on {voters}, which are all empty",
            short(Some(&founded.ca))
        ))
        .hint(format!(
            "put a disk of one of them back, if there is one; to found a new, empty cluster: slicer-k3s init \
             --force-new-cluster={}",
            plan.cluster
        )),
    )
}

/// Too few servers are left for a quorum.
pub(super) fn quorum_lost(plan: &Plan, founded: &Founded, seen: &[(Server, Observed)]) -> Refusal {
    let states = seen
        .iter()
        .map(|(server, observed)| state(server, observed));
    let failure = Failure::new(
        Code::QuorumLost,
        format!("etcd of {} has lost its quorum", plan.cluster),
    )
    .because(format!(
        "{} of {} voters are needed; {}",
        founded.quorum(),
        founded.voters.len(),
        listed(states)
    ));
    let away: Vec<&(Server, Observed)> = seen
        .iter()
        .filter(|(_, observed)| !observed.is_empty() && observed.data().is_none())
        .collect();
    let survivor = seen
        .iter()
        .filter_map(|(server, observed)| Some((server, observed.data()?)))
        .min_by_key(|(_, held)| held.written.unwrap_or(u64::MAX));
    let mut hint = Vec::new();
    if !away.is_empty() {
        hint.push(format!(
            "bring {} up first: what is there may hold newer data",
            listed(hosts(plan, &away).into_iter())
        ));
    }
    if let Some((server, _)) = survivor {
        hint.push(format!(
            "to go on with what {0} holds alone, and nothing newer (the others join it again):\n{1}",
            server.name,
            reset(&server.name).join("\n")
        ));
    }
    Refusal::of(failure.hint(hint.join("\n")))
}

/// What makes a server the only member of its cluster, command by command.
///
/// Source: k3s refuses a reset while `server` is set (pkg/cli/server); tried: its data stays.
fn reset(server: &str) -> [String; 6] {
    let config = crate::k3s::CONFIG_PATH;
    let on = |command: String| format!("slicer-k3s exec {server} -- {command}");
    [
        on("systemctl stop k3s".to_owned()),
        on(format!("sed -i.before-reset '/^server:/d' {config}")),
        on("k3s server --cluster-reset".to_owned()),
        on(format!("mv {config}.before-reset {config}")),
        on("systemctl start k3s".to_owned()),
        "slicer-k3s init".to_owned(),
    ]
}

/// A server and what is known of it.
fn state(server: &Server, observed: &Observed) -> String {
    let name = &server.name;
    match observed {
        Observed::Answers(held) if held.data => match held.written {
            Some(seconds) => format!("{name} has the data, last written {} ago", ago(seconds)),
            None => format!("{name} has the data"),
        },
        Observed::Answers(held) if held.sqlite => format!("{name} has a cluster in SQLite"),
        Observed::Answers(_) => format!("{name} is empty"),
        Observed::Nothing => format!("{name} has neither a VM nor a disk"),
        Observed::Stopped => format!("the VM of {name} does not run"),
        Observed::Silent(why) => format!("{name} does not answer ({why})"),
        Observed::Unreachable(why) => format!("{name} cannot be asked ({why})"),
    }
}

fn hosts(plan: &Plan, away: &[&(Server, Observed)]) -> Vec<String> {
    let mut hosts: Vec<String> = away
        .iter()
        .map(|(server, observed)| match observed {
            Observed::Unreachable(_) if plan.host(&server.host).is_none() => server.host.clone(),
            _ => server.name.clone(),
        })
        .collect();
    hosts.dedup();
    hosts
}

/// A duration for people.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn short(ca: Option<&str>) -> &str {
    ca.and_then(|ca| ca.get(..12)).unwrap_or("unknown")
}

/// `a`, `a and b`, `a, b and c`; parts with commas of their own are separated by semicolons.
pub(super) fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.iter().any(|part| part.contains(' ')) {
        return parts.join("; ");
    }
    match parts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
