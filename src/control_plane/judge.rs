//! What the servers hold → how each has to start, or why none may. Pure.

use std::collections::{BTreeMap, BTreeSet};

mod aside;

pub use aside::{judge, judge_new};

use super::ask::Observed;
use super::held::Held;
use super::refusals::{self, Refusal};
use super::start::{ControlPlane, Start};
use crate::etcd::{Member, ids};
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
struct ServerState<'a> {
    plan: &'a Plan,
    /// The cluster that is on record.
    recorded: Option<&'a Founded>,
    /// Every server with what is known of it; what was given up counts as gone.
    servers: Vec<(&'a Server, Observed)>,
}

impl ServerState<'_> {
    fn judge(&self) -> Result<ControlPlane, Box<Refusal>> {
        let sides = self.sides();
        if let [one, ..] = sides.as_slice() {
            if sides.len() > 1 {
                return Err(Box::new(refusals::two_clusters(self.plan, sides)));
            }
            return self.one_cluster(one);
        }
        match self.recorded {
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
            let same = sides.iter_mut().find(|side| {
                side.ca == held.ca
                    && (held.members.is_none()
                        || side.members.as_deref().map(ids) == held.members.as_deref().map(ids))
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
            aside::founding(self.plan)
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
        let may = self.may_have_data();
        if may == 0 {
            return Err(Box::new(refusals::cluster_lost(self.plan, founded)));
        }
        if may < founded.quorum() {
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
        let recorded = self.recorded;
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
        let servers = self.plan.servers.iter().filter(|server| voting(server));
        let founded = Founded {
            ca,
            voters: servers.map(|server| server.name.clone()).collect(),
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
            other_ca: recorded.is_some_and(|recorded| recorded.ca != founded.ca),
            founded: self.is_certain(&founded).then_some(founded),
            starts,
            ..ControlPlane::default()
        })
    }

    /// Whether a cluster may go on record: one of a single server may be a second one, as long as others cannot be asked.
    fn is_certain(&self, founded: &Founded) -> bool {
        let asked = |observed: &Observed| observed.is_empty() || observed.data().is_some();
        self.recorded.is_some()
            || founded.outlives_a_server()
            || self.servers.iter().all(|(_, observed)| asked(observed))
    }

    /// Servers with data that are no voters.
    fn newcomers(&self, founded: &Founded) -> BTreeSet<String> {
        let recorded = self.recorded;
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
        // Where only the first server ever had data, nobody had joined it yet.
        let first = self.servers.first();
        let first_alone = first.is_some_and(|(_, observed)| !observed.is_empty())
            && self
                .servers
                .iter()
                .skip(1)
                .all(|(_, observed)| observed.is_empty());
        let known = self.recorded.filter(|founded| !founded.voters.is_empty());
        let founded = known.cloned().unwrap_or_else(|| {
            let all = self.plan.servers.iter().map(|server| &server.name);
            Founded {
                ca: ca.to_owned(),
                voters: if first_alone {
                    side.servers.iter().cloned().collect()
                } else {
                    all.cloned().collect()
                },
            }
        });
        if self.may_have_data() < founded.quorum() {
            return Err(Box::new(self.quorum_lost(&founded)));
        }
        // Whoever is alone is a quorum as soon as it runs.
        let alone = side.servers.first().filter(|_| founded.voters.len() < 2);
        let starts = self.starts(|server| match alone {
            Some(via) if *via != server.name => Start::Join {
                via: via.clone(),
                stale: false,
            },
            _ => Start::Undecided,
        });
        let begins = first_alone && self.recorded.is_none();
        let newcomers = side.servers.iter().filter(|_| begins);
        Ok(ControlPlane {
            // What is not on record yet is assumed, and not put there.
            founded: self.recorded.cloned(),
            newcomers: newcomers.cloned().collect(),
            starts,
            ..ControlPlane::default()
        })
    }

    /// How many servers have data, or may have it.
    fn may_have_data(&self) -> usize {
        let servers = self.servers.iter();
        servers.filter(|(_, observed)| !observed.is_empty()).count()
    }

    fn quorum_lost(&self, founded: &Founded) -> Refusal {
        let servers: Vec<(Server, Observed)> = self.all(|_| true);
        refusals::quorum_lost(self.plan, founded, &servers)
    }

    /// Whoever has data is a member; of those that are empty `empty` says how they start, and of those that do not answer
    /// nobody can say: a disk that is just made answers late.
    fn starts(&self, empty: impl Fn(&Server) -> Start) -> BTreeMap<String, Start> {
        let starts = self.servers.iter().map(|(server, observed)| {
            let start = if observed.data().is_some() {
                Start::Member
            } else if observed.is_empty() {
                empty(server)
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
