//! How a server has to start.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::k3s::SERVER_DIRECTORY;
use crate::plan::{Founded, Plan};

/// How one server has to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the data that it has, or has to be assumed to have; it waits for nobody.
    Member,
    /// It is empty, nothing was ever founded, and no other server has data: it founds the cluster.
    Found,
    /// It is empty: it joins a server that answers.
    Join {
        /// The server that it joins.
        via: String,
        /// Whether the cluster may still have a Node or an etcd member of its name, which has to go first.
        stale: bool,
    },
    /// It is empty or not there yet, and others have to answer before it can be said what it may do.
    Undecided,
}

/// The control plane as its servers describe it, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// The cluster that was founded, as its servers have it now.
    pub founded: Option<Founded>,
    /// How each server has to start.
    pub starts: BTreeMap<String, Start>,
    /// Servers whose data has to be set aside first, and whether their CA is another cluster's.
    pub set_aside: BTreeMap<String, bool>,
    /// Whether the CA is another one than that on record, on every server.
    pub other_ca: bool,
    /// Servers with data that never voted, as far as anybody knows: one whose first start was cut short may begin again.
    pub newcomers: BTreeSet<String>,
    /// The k3s of each server as it was just seen: (its stamp, its version).
    pub programs: BTreeMap<String, (String, String)>,
    /// Servers whose VM has lost its disk, so that Slicer has to make a new one.
    pub without_disk: Vec<String>,
}

impl ControlPlane {
    /// Of a cluster whose servers are not to be started: everyone has its data.
    pub fn unquestioned(plan: &Plan) -> Self {
        Self {
            founded: plan.founded.clone(),
            ..Self::default()
        }
    }

    /// How a server has to start.
    pub fn start(&self, server: &str) -> &Start {
        self.starts.get(server).unwrap_or(&Start::Member)
    }

    /// Servers that come back into a cluster that lives, and whom they join.
    pub fn returning(&self) -> impl Iterator<Item = (&str, &str)> {
        self.starts
            .iter()
            .filter_map(|(server, start)| match start {
                Start::Join { via, stale: true } => Some((server.as_str(), via.as_str())),
                _ => None,
            })
    }

    /// What a person has to agree to, for the plan: (server, what happens).
    pub fn remarks(&self) -> Vec<(String, String)> {
        let mut remarks = Vec::new();
        if self.other_ca {
            let what = "every server has another CA than the one on record: what they hold is put on record in its place";
            remarks.push(("cluster".to_owned(), what.to_owned()));
        }
        for (server, foreign) in &self.set_aside {
            let what = if *foreign {
                "its etcd data, certificates and tokens are moved aside (etcd-old-*, tls-old-*, cred-old-*, token-old-*)"
            } else {
                "its etcd data is moved aside (SERVER/db/etcd-old-*)"
            };
            remarks.push((server.clone(), what.replace("SERVER", SERVER_DIRECTORY)));
        }
        for server in &self.without_disk {
            let what = "its disk is gone: Slicer makes a new one; where it refuses, its daemon restarts, which reboots every \
                        other server of that daemon and ends its agents, where it serves any (--allow-outage)";
            remarks.push((server.clone(), what.to_owned()));
        }
        for (server, via) in self.returning() {
            let what = format!("it has no data: its old Node is deleted, and it joins {via}");
            remarks.push((server.to_owned(), what));
        }
        for (server, start) in &self.starts {
            if *start == Start::Undecided && self.founded.is_some() {
                let what = "it does not answer yet; if it turns out to have no data, its old Node is deleted, and it joins a \
                            server that answers";
                remarks.push((server.clone(), what.to_owned()));
            }
            if *start == Start::Found && !self.set_aside.is_empty() {
                remarks.push((server.clone(), "it founds a new, empty cluster".to_owned()));
            }
        }
        remarks
    }
}
