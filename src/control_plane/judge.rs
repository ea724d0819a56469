//! What the servers hold → how each has to start, or why none may. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::Observed;
use super::held::{Held, Member};
use super::refusals::{self, Refusal};
use super::start::{ControlPlane, Start};
use crate::plan::{Founded, Plan, Server};

/// What follows from what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The servers are one cluster, or may become one.
    Clear(ControlPlane),
    /// Nothing may be changed.
    Refused(Box<Refusal>),
}

/// Servers that hold the same cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Their names.
    pub servers: Vec<String>,
    /// The CA of their cluster.
    pub ca: Option<String>,
    /// etcd's members as a quorum of it has them.
    pub members: Option<Vec<Member>>,
}

/// What was seen, as the judgement needs it.
struct Seen<'a> {
    plan: &'a Plan,
    /// Every server with what is known of it; what was given up counts as gone.
    servers: Vec<(&'a Server, Observed)>,
}

/// Judges what was seen; what servers in `give_up` hold is given up.
pub fn judge(plan: &Plan, seen: &[(Server, Observed)], give_up: &[String]) -> Judgement {
    match judged(plan, seen, give_up) {
        Ok(control_plane) => Judgement::Clear(control_plane),
        Err(refusal) => Judgement::Refused(refusal),
    }
}

/// Judges what was seen where a new cluster is to take the place of whatever the servers hold.
pub fn judge_new(plan: &Plan, seen: &[(Server, Observed)]) -> Judgement {
    let silent = |observed: &Observed| !observed.is_empty() && observed.data().is_none();
    let away: Vec<&(Server, Observed)> = seen.iter().filter(|(_, seen)| silent(seen)).collect();
    if !away.is_empty() {
        return Judgement::Refused(Box::new(refusals::unreachable(plan, &away)));
    }
    let first = plan.servers.first();
    let ca_of = |name: &str| {
        let mut seen = seen.iter();
        let (_, observed) = seen.find(|(server, _)| server.name == name)?;
        observed.data().and_then(|held| held.ca.clone())
    };
    let kept = first.and_then(|first| ca_of(&first.name));
    let with_data = seen
        .iter()
        .filter(|(_, observed)| observed.data().is_some());
    let set_aside = with_data.map(|(server, _)| {
        let is_first = first.is_some_and(|first| first.name == server.name);
        (
            server.name.clone(),
            !is_first && ca_of(&server.name) != kept,
        )
    });
    Judgement::Clear(ControlPlane {
        founded: None,
        starts: founding(plan),
        set_aside: set_aside.collect(),
        without_disk: without_disk(plan, seen),
        ..ControlPlane::default()
    })
}

/// The first server founds, the others join it.
fn founding(plan: &Plan) -> BTreeMap<String, Start> {
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
    let mut set_aside = BTreeMap::new();
    let mut servers = Vec::new();
    for (server, observed) in seen {
        let mut observed = observed.clone();
        if give_up.contains(&server.name) {
            let Observed::Answers(held) = observed else {
                let away = [&(server.clone(), observed)];
                return Err(Box::new(refusals::unreachable(plan, &away)));
            };
            if held.data {
                set_aside.insert(server.name.clone(), held.ca);
            }
            observed = Observed::Answers(Held::default());
        }
        servers.push((server, observed));
    }
    let seen_here = Seen { plan, servers };
    let mut control_plane = seen_here.judge()?;
    if let Some(founded) = &control_plane.founded
        && !set_aside.is_empty()
    {
        let foreign = |ca: Option<String>| ca.as_ref() != Some(&founded.ca);
        let moved = set_aside.into_iter().map(|(name, ca)| (name, foreign(ca)));
        control_plane.set_aside = moved.collect();
        // Only what another server can give back is moved aside.
        let alone = |name: &String| !matches!(control_plane.start(name), Start::Join { .. });
        if let Some(server) = control_plane.set_aside.keys().find(|name| alone(name)) {
            return Err(Box::new(refusals::nobody_else(plan, server)));
        }
    } else if let Some(server) = set_aside.keys().next() {
        return Err(Box::new(refusals::nobody_else(plan, server)));
    }
    control_plane.without_disk = without_disk(plan, seen);
    Ok(control_plane)
}

impl Seen<'_> {
    fn judge(&self) -> Result<ControlPlane, Box<Refusal>> {
        let sides = self.sides();
        if let [one, ..] = sides.as_slice() {
            if sides.len() > 1 {
                return Err(Box::new(refusals::two_clusters(self.plan, sides)));
            }
            return self.one_cluster(one);
        }
        match &self.plan.founded {
            None => self.nothing_founded(),
            Some(founded) => self.no_data(founded),
        }
    }

    /// The servers with data, by what they hold: those of one CA are one side, unless their quorums' lists differ.
    fn sides(&self) -> Vec<Side> {
        let mut sides: Vec<Side> = Vec::new();
        let mut with_data: Vec<(&Server, &Held)> = self
            .servers
            .iter()
            .filter_map(|(server, observed)| Some((*server, observed.data()?)))
            .collect();
        // Those that have a list first: the others go by their CA alone.
        with_data.sort_by_key(|(_, held)| (held.members.is_none(), held.ca.is_none()));
        for (server, held) in with_data {
            let ids = |members: &Option<Vec<Member>>| -> Option<BTreeSet<u64>> {
                Some(members.as_ref()?.iter().map(|member| member.id).collect())
            };
            let same = sides.iter_mut().find(|side| {
                let same_ca = held.ca.is_none() || side.ca == held.ca;
                same_ca && (held.members.is_none() || ids(&side.members) == held.ids())
            });
            match same {
                Some(side) => side.servers.push(server.name.clone()),
                None => sides.push(Side {
                    servers: vec![server.name.clone()],
                    ca: held.ca.clone(),
                    members: held.members.clone(),
                }),
            }
        }
        sides
    }

    /// Nobody has data and nothing is on record: the first server founds, if every other one says that it has none.
    fn nothing_founded(&self) -> Result<ControlPlane, Box<Refusal>> {
        let unreachable: Vec<(Server, Observed)> =
            self.all(|observed| matches!(observed, Observed::Unreachable(_)));
        if !unreachable.is_empty() {
            let unreachable: Vec<_> = unreachable.iter().collect();
            return Err(Box::new(refusals::unreachable(self.plan, &unreachable)));
        }
        let certain = self.servers.iter().all(|(_, observed)| observed.is_empty());
        let starts = if certain {
            founding(self.plan)
        } else {
            // A server that boots may turn out to have been a member: it says so once it is up.
            self.starts(|_| Start::Undecided)
        };
        Ok(ControlPlane {
            starts,
            ..ControlPlane::default()
        })
    }

    /// A cluster is on record, and nobody who answers has its data.
    fn no_data(&self, founded: &Founded) -> Result<ControlPlane, Box<Refusal>> {
        let may = self.may_vote(founded);
        if may.is_empty() {
            return Err(Box::new(refusals::cluster_lost(self.plan, founded)));
        }
        if may.len() < founded.quorum() {
            return Err(Box::new(self.quorum_lost(founded)));
        }
        Ok(ControlPlane {
            founded: Some(founded.clone()),
            starts: self.starts(|_| Start::Undecided),
            ..ControlPlane::default()
        })
    }

    /// All data that was seen is one cluster's.
    fn one_cluster(&self, side: &Side) -> Result<ControlPlane, Box<Refusal>> {
        let recorded = self.plan.founded.as_ref();
        let ca = side
            .ca
            .clone()
            .or(recorded.map(|founded| founded.ca.clone()));
        let ca = ca.unwrap_or_default();
        let everyone = side.servers.len() == self.servers.len();
        if let Some(founded) = recorded.filter(|founded| founded.ca != ca)
            && !(everyone && side.members.is_some())
        {
            return Err(Box::new(refusals::another_cluster(
                self.plan, founded, side,
            )));
        }
        let Some(members) = &side.members else {
            return self.without_quorum(side, &ca);
        };
        let voting = |server: &Server| {
            let mut members = members.iter();
            members.any(|member| !member.learner && member.is(&server.name, server.address))
        };
        let voters = self.plan.servers.iter().filter(|server| voting(server));
        let founded = Founded {
            ca,
            voters: voters.map(|server| server.name.clone()).collect(),
        };
        let starts = self.starts(|server| {
            let stale = recorded.is_some()
                || members
                    .iter()
                    .any(|member| member.is(&server.name, server.address));
            match self.via(server) {
                Some(via) => Start::Join { via, stale },
                None => Start::Undecided,
            }
        });
        Ok(ControlPlane {
            newcomers: self.newcomers(&founded),
            founded: Some(founded),
            starts,
            ..ControlPlane::default()
        })
    }

    /// Servers with data that are no voters.
    fn newcomers(&self, founded: &Founded) -> BTreeSet<String> {
        let recorded = self.plan.founded.as_ref();
        let voted = |name: &String| {
            founded.voters.contains(name)
                || recorded.is_some_and(|recorded| recorded.voters.contains(name))
        };
        let with_data = self
            .servers
            .iter()
            .filter(|(_, observed)| observed.data().is_some());
        with_data
            .map(|(server, _)| server.name.clone())
            .filter(|name| !voted(name))
            .collect()
    }

    /// Data was seen, and no quorum answers: it may be starting, or lost for good.
    fn without_quorum(&self, side: &Side, ca: &str) -> Result<ControlPlane, Box<Refusal>> {
        // Not on record yet: where only the first server ever had data, nobody had joined it.
        let first = self.servers.first();
        let first_alone = self.plan.founded.is_none()
            && first.is_some_and(|(_, observed)| !observed.is_empty())
            && self
                .servers
                .iter()
                .skip(1)
                .all(|(_, observed)| observed.is_empty());
        let founded = self.plan.founded.clone().unwrap_or_else(|| {
            let voters: Vec<String> = if first_alone {
                side.servers.clone()
            } else {
                let all = self.plan.servers.iter();
                all.map(|server| server.name.clone()).collect()
            };
            Founded {
                ca: ca.to_owned(),
                voters: voters.into_iter().collect(),
            }
        });
        if self.may_vote(&founded).len() < founded.quorum() {
            return Err(Box::new(self.quorum_lost(&founded)));
        }
        let first_only = founded.voters.len() < 2;
        let starts = self.starts(|server| match side.servers.first() {
            // Whoever is alone is a quorum as soon as it runs.
            Some(via) if first_only && *via != server.name => Start::Join {
                via: via.clone(),
                stale: false,
            },
            _ => Start::Undecided,
        });
        Ok(ControlPlane {
            // What is not on record yet is assumed, and not put there.
            founded: self.plan.founded.clone(),
            newcomers: if first_alone {
                side.servers.iter().cloned().collect()
            } else {
                BTreeSet::new()
            },
            starts,
            ..ControlPlane::default()
        })
    }

    /// The servers that voted and have data, or may have it.
    fn may_vote(&self, founded: &Founded) -> Vec<&str> {
        self.servers
            .iter()
            .filter(|(server, observed)| {
                founded.voters.contains(&server.name) && !observed.is_empty()
            })
            .map(|(server, _)| server.name.as_str())
            .collect()
    }

    fn quorum_lost(&self, founded: &Founded) -> Refusal {
        let servers: Vec<(Server, Observed)> = self.all(|_| true);
        refusals::quorum_lost(self.plan, founded, &servers)
    }

    /// Whoever has data, or may have it, is a member; of the others `empty` says how they start.
    fn starts(&self, empty: impl Fn(&Server) -> Start) -> BTreeMap<String, Start> {
        let is_known = self.plan.founded.is_some()
            || self.servers.iter().any(|(_, other)| other.data().is_some());
        let starts = self.servers.iter().map(|(server, observed)| {
            let start = if observed.is_empty() {
                empty(server)
            } else if is_known {
                Start::Member
            } else {
                Start::Undecided
            };
            (server.name.clone(), start)
        });
        starts.collect()
    }

    /// The first server other than this one through which a quorum answers.
    fn via(&self, server: &Server) -> Option<String> {
        self.servers
            .iter()
            .filter(|(other, _)| other.name != server.name)
            .find(|(_, observed)| observed.data().is_some_and(|held| held.members.is_some()))
            .map(|(other, _)| other.name.clone())
    }

    fn all(&self, which: impl Fn(&Observed) -> bool) -> Vec<(Server, Observed)> {
        self.servers
            .iter()
            .filter(|(_, observed)| which(observed))
            .map(|(server, observed)| ((*server).clone(), observed.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
