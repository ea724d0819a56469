//! etcd's members, as k3s lists them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::names::k3s::ETCD_PEER_PORT;

/// Most members that are read of a list.
const MOST: usize = 64;

/// A member of etcd.
///
/// Source: k3s@af977adf pkg/etcd/etcd.go, `infoHandler`; etcd v3.6 api/etcdserverpb/rpc.proto (`Member`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// etcd's own number for it.
    #[serde(rename = "ID", default)]
    pub id: u64,
    /// `<node name>-<8 hex digits>`; empty until it has started.
    #[serde(default)]
    pub name: String,
    /// Where the other members reach it.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Vec<String>,
    /// Whether it does not vote yet.
    #[serde(rename = "isLearner", default)]
    pub learner: bool,
}

#[derive(Deserialize)]
struct Members {
    members: Option<Vec<Member>>,
}

impl Member {
    /// The name of its Node; none until it has started.
    pub fn node(&self) -> Option<&str> {
        self.name.rsplit_once('-').map(|(node, _)| node)
    }

    /// Whether it is the member of the server of this name and address.
    pub fn is(&self, server: &str, address: Ipv4Addr) -> bool {
        let peer = format!("https://{address}:{ETCD_PEER_PORT}");
        self.node() == Some(server) || self.peer_urls.contains(&peer)
    }
}

/// etcd's numbers of these members.
pub fn ids(members: &[Member]) -> BTreeSet<u64> {
    members.iter().map(|member| member.id).collect()
}

/// The members of k3s's `/db/info`; a list without any is none.
pub fn members(json: &str) -> Option<Vec<Member>> {
    let list: Members = serde_json::from_str(json).ok()?;
    let members: Vec<Member> = list.members?.into_iter().take(MOST).collect();
    (!members.is_empty()).then_some(members)
}
