//! A server's Node: with it go its member of etcd and its node password. Only where the server holds no data, and a quorum stands
//! without it.

use std::net::Ipv4Addr;

use super::DeletableObject;
use crate::etcd::Member;

/// The Node of a server that holds no data (`empty`, asked after its k3s was stopped). `members` are etcd's as a quorum has them,
/// asked through another server; `None` where no quorum answers.
pub fn server_node(
    server: &str,
    address: Ipv4Addr,
    empty: bool,
    members: Option<&[Member]>,
) -> Result<DeletableObject, &'static str> {
    if !empty {
        return Err("it holds data");
    }
    let members = members.ok_or("no quorum answers")?;
    let another = |member: &&Member| !member.learner && !member.is(server, address);
    if members.iter().any(|member| another(&member)) {
        Ok(DeletableObject::node(server))
    } else {
        Err("no other server votes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, learner: bool) -> Member {
        let json = format!(r#"{{"ID":1,"name":"{name}-00aa11bb","isLearner":{learner}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_servers_node_goes_only_with_a_quorum_without_it() {
        let (own, other, learner) = (
            member("s-1", false),
            member("s-2", false),
            member("s-2", true),
        );
        for (empty, members, goes) in [
            (true, Some(vec![own.clone(), other.clone()]), true),
            (true, Some(vec![other.clone()]), true),
            (false, Some(vec![own.clone(), other]), false),
            (true, None, false),
            (true, Some(vec![own.clone()]), false),
            (true, Some(vec![own, learner]), false),
        ] {
            let may = server_node("s-1", [10, 0, 0, 1].into(), empty, members.as_deref());
            assert_eq!(may.is_ok(), goes, "{empty} {members:?}");
        }
    }
}
