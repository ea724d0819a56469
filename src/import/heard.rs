//! Servers of the cluster that were not seen: what they hold may be the newer truth.

use super::Findings;
use crate::control_plane;
use crate::control_plane::Held;
use crate::etcd::Member;
use crate::failure::{Code, Failure};
use crate::plan::{Role, Server};
use crate::slicer::ServerFacts;

/// The refusal where one of these servers keeps a cluster in SQLite: it has neither members nor a first server.
pub fn in_sqlite(servers: &[(String, ServerFacts)]) -> Option<Failure> {
    let held = servers
        .iter()
        .filter_map(|(name, facts)| Some((name.as_str(), Held::parse(&facts.data)?)));
    let held: Vec<(&str, Held)> = held.collect();
    control_plane::in_sqlite(held.iter().map(|(name, held)| (*name, held)))
}

impl Findings {
    /// etcd's members, where a quorum of them answers.
    fn members(&self) -> Option<Vec<Member>> {
        let mut servers = self.servers.iter();
        servers.find_map(|(_, facts)| Held::parse(&facts.data)?.members)
    }

    /// Members of etcd that are none of the servers found, by name.
    fn strangers(&self) -> Vec<String> {
        let members = self.members().unwrap_or_default();
        let strangers = members.iter().filter(|member| !self.has_member(member));
        strangers.map(called).collect()
    }

    fn has_member(&self, member: &Member) -> bool {
        let mut servers = self.marked_servers();
        servers.any(|server| member.is(&server.name, server.address))
    }

    /// Servers that did not answer, or whose hosts were not named; empty where all were seen.
    pub(super) fn unseen(&self) -> Vec<String> {
        let mut unseen = self.silent.clone();
        unseen.extend(self.strangers());
        if self.members().is_none() {
            let hosts = self.missing().into_iter();
            unseen.extend(hosts.map(|address| format!("the host at {address}")));
        }
        unseen
    }

    /// Servers of a cluster that was set up by hand and would be left out. `silent` are VMs of its hosts' daemons that did not
    /// answer; one may be a server where its group has others, or where nothing says of what group it is.
    pub fn left_out(&self, silent: &[Server]) -> Vec<String> {
        let members = self.members();
        let may_have_servers = |group: &String| {
            let mut daemons = self.daemons();
            let daemon = daemons.find(|daemon| daemon.group == *group);
            daemon.is_none_or(|daemon| daemon.role == Role::ControlPlane)
        };
        let may_serve = |vm: &&Server| {
            members.as_ref().map_or_else(
                || may_have_servers(&vm.group),
                |members| members.iter().any(|member| member.is(&vm.name, vm.address)),
            )
        };
        let mut names: Vec<String> = silent
            .iter()
            .filter(may_serve)
            .map(|vm| vm.name.clone())
            .collect();
        for stranger in self.strangers() {
            if !names.contains(&stranger) {
                names.push(stranger);
            }
        }
        names
    }

    /// The refusal where the cluster runs and most of its servers are on hosts that were not named: a run from another
    /// workstation may hold those, and its note may lie there.
    pub fn minority(&self) -> Option<Failure> {
        let members = self.members()?;
        let votes = || members.iter().filter(|member| !member.learner);
        let ours = votes().filter(|member| self.has_member(member)).count();
        if ours * 2 > votes().count() {
            return None;
        }
        let others: Vec<String> = votes()
            .filter(|member| !self.has_member(member))
            .map(called)
            .collect();
        Some(
            Failure::new(
                Code::Locked,
                "too few hosts of the control plane were named",
            )
            .because(format!(
                "the cluster runs, and most of its servers are elsewhere: {}; another workstation could be at work there",
                others.join(", ")
            ))
            .hint("name the hosts of these servers as well"),
        )
    }

    /// The refusal where no server's API says how the autoscaler is deployed: without it every setting of the autoscaler would
    /// become the default.
    pub fn autoscaler_unknown(&self) -> Option<Failure> {
        let mut servers = self.servers.iter();
        if servers.any(|(_, facts)| facts.api_down.is_none()) {
            return None;
        }
        let (name, facts) = self.servers.first()?;
        let why = facts.api_down.as_deref().unwrap_or_default();
        Some(
            Failure::new(
                Code::Kubernetes,
                "it is not known how the autoscaler is deployed",
            )
            .because(format!("the API of {name}: {why}"))
            .hint(
                "run again when the API answers; with a cluster.toml at hand, slicer-k3s import without hosts does not need it",
            ),
        )
    }

    /// Whether a server said that the cluster runs.
    pub fn runs(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|(_, facts)| facts.api_down.is_none()) || self.members().is_some()
    }
}

/// What messages call a member: its Node's name, else its address.
fn called(member: &Member) -> String {
    let peer = member.peer_urls.first().map(String::as_str);
    crate::escape::escape(member.node().or(peer).unwrap_or("a member without a name"))
}
