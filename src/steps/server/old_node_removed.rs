//! Of a server that lost its data the cluster keeps nothing: with its Node its etcd member and its node password go, and
//! only then may a server of that name join again.
//!
//! Source: k3s, pkg/etcd/etcd.go `join` ("duplicate node name found"), `pkg/etcd/member_controller.go`.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::control_plane;
use crate::control_plane::{ControlPlane, Start};
use crate::deletion::{DeletableObject, server_node};
use crate::etcd::Member;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Plan, Server};
use crate::remote::Script;
use crate::step_id::{StepId, StepName};
use crate::world::World;

/// How k3s marks a server's Node, and what keeps a deleted one until its member is out of etcd.
///
/// Source: k3s@af977adf pkg/util/labels.go (`ETCDRoleLabelKey`), pkg/etcd/etcd.go (`NodeNameAnnotation`, `NodeAddressAnnotation`),
/// `pkg/etcd/member_controller.go`; rancher/wrangler@v3.4.0 pkg/generic/remove.go (`finalizerKey`).
const ETCD_ROLE: &str = "node-role.kubernetes.io/etcd";
const MEMBER_NAME: &str = "etcd.k3s.cattle.io/node-name";
const MEMBER_ADDRESS: &str = "etcd.k3s.cattle.io/node-address";
const MEMBER_FINALIZER: &str = "wrangler.cattle.io/managed-etcd-controller";

pub(crate) struct OldNodeRemoved {
    server: Server,
    /// The server that it is to join, where that is known already.
    via: Option<String>,
    needs: Vec<StepId>,
}

impl OldNodeRemoved {
    /// Of a server that may come back into a cluster that knows it.
    pub(crate) fn new(plan: &Plan, server: &Server, control_plane: &ControlPlane) -> Option<Self> {
        let via = match control_plane.start(&server.name) {
            Start::Join { via, stale: true } => Some(via.clone()),
            Start::Undecided if plan.founded.is_some() => None,
            _ => return None,
        };
        // Its configuration lies there once it is certain that it has no data and which cluster it joins.
        let mut needs = vec![StepName::K3sConfig.on(&server.name)];
        needs.extend(via.as_deref().map(|server| StepName::K3sStarted.on(server)));
        Some(Self {
            server: server.clone(),
            via,
            needs,
        })
    }

    /// The server through which its cluster is asked; `None` where it has data, and so keeps its Node.
    async fn via<'w>(&self, world: &'w World) -> Result<Option<&'w Server>> {
        let via = match &self.via {
            Some(via) => via.clone(),
            None => match control_plane::start_now(world, &self.server).await? {
                Some(Start::Join { via, .. }) => via,
                Some(_) => return Ok(None),
                None => {
                    return Err(Failure::new(
                        Code::Kubernetes,
                        format!("no server answers that {} could join", self.server.name),
                    ));
                }
            },
        };
        let mut servers = world.plan.servers.iter();
        let found = servers.find(|server| server.name == via);
        found
            .map(Some)
            .ok_or_else(|| Failure::new(Code::Vm, format!("{via} is not in the plan")).permanent())
    }

    async fn has_data(&self, world: &World) -> Result<bool> {
        let own = world.server(&self.server).await?;
        Ok(control_plane::ask(own).await?.data)
    }

    async fn node(&self, kubernetes: &Kubernetes) -> Result<Option<Value>> {
        kubernetes.get(&["node", &self.server.name]).await
    }

    /// The member of etcd that this server was, where it has started; one without a name is this server's own, from a run that
    /// was killed: k3s takes it over.
    fn member<'m>(&self, members: &'m [Member]) -> Option<&'m Member> {
        let named = members.iter().filter(|member| !member.name.is_empty());
        let mut left = named.filter(|member| member.is(&self.server.name, self.server.address));
        left.next()
    }

    /// Whether its Node may go: it holds no data, and these are the members that a quorum elsewhere has.
    fn may_go(&self, members: Option<&[Member]>) -> Result<DeletableObject, &'static str> {
        server_node(&self.server.name, self.server.address, true, members)
    }

    /// A Node for a member that has none: the server lost its disk before its kubelet registered. k3s removes a member when its
    /// Node is deleted, and knows no other way; a learner that has started it never gives up, for the leader asks its own etcd
    /// about the learner's progress (k3s@af977adf `pkg/etcd/member_controller.go` `onRemove`, pkg/etcd/etcd.go
    /// `trackLearnerProgress`). With the finalizer from the beginning k3s cannot miss the end.
    fn node_of(&self, member: &Member) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.server.name,
                "labels": {ETCD_ROLE: "true"},
                "annotations": {
                    MEMBER_NAME: member.name,
                    MEMBER_ADDRESS: self.server.address.to_string(),
                },
                "finalizers": [MEMBER_FINALIZER],
            },
        })
    }
}

#[async_trait]
impl Step<World> for OldNodeRemoved {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::OldNodeRemoved.on(&self.server.name),
            format!("Delete the old Node of {}", self.server.name),
            format!(
                "slicer-k3s kubectl describe node {}: the server that leads k3s's \
                 controllers removes its etcd member and then its finalizers",
                self.server.name
            ),
        )
        .needs(self.needs.clone())
        // A learner that never started is evicted after five. The progress of one that did is not seen: the leader asks its own
        // etcd instead (k3s@af977adf pkg/etcd/etcd.go, getClient and trackLearnerProgress).
        .timeout(Duration::from_mins(6))
        .code(Code::Kubernetes)
        .reapply()
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        // One that was just joining when it was asked before has joined: the Node and the member are its own.
        if self.has_data(world).await? {
            return Ok(Finding::done());
        }
        let Some(via) = self.via(world).await? else {
            return Ok(Finding::done());
        };
        let machine = world.server(via).await?;
        let kubernetes = Kubernetes::on(machine.clone());
        if let Some(node) = self.node(&kubernetes).await? {
            if node["metadata"]["deletionTimestamp"].is_null() {
                let members = control_plane::ask(machine).await?.members;
                return Ok(match self.may_go(members.as_deref()) {
                    Ok(_) => Finding::differs("the Node of before is still there"),
                    Err(why) => Finding::Unknown(format!(
                        "the Node of before is still there: {why} through {}",
                        via.name
                    )),
                });
            }
            let finalizers: Vec<&str> = node["metadata"]["finalizers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            return Ok(Finding::Unknown(format!(
                "its Node is being deleted and waits for {}",
                finalizers.join(", ")
            )));
        }
        let held = control_plane::ask(machine).await?;
        let Some(members) = held.members else {
            return Ok(Finding::Unknown(format!(
                "no quorum answers through {}",
                via.name
            )));
        };
        Ok(match self.member(&members) {
            None => Finding::done(),
            Some(member) if member.learner => {
                Finding::Unknown("etcd still has a learner of its name".to_owned())
            }
            Some(_) => Finding::Unknown("etcd still has a member of its name".to_owned()),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let Some(via) = self.via(world).await? else {
            return Ok(());
        };
        // A Node is deleted only while its server has nothing to lose, and nothing is about to change that.
        if self.has_data(world).await? {
            return Ok(());
        }
        let own = world.server(&self.server).await?;
        // As long as systemd itself waits before it kills, and a little more.
        let stop = Script::new("systemctl stop k3s 2>/dev/null || true", &[]);
        let stop = stop.limit(Duration::from_mins(2));
        own.must(permit, "stopping k3s", &stop).await?;
        if self.has_data(world).await? {
            return Ok(());
        }
        let machine = world.server(via).await?;
        let kubernetes = Kubernetes::on(machine.clone());
        let members = control_plane::ask(machine).await?.members;
        // The next look says what it waits for.
        let Ok(node) = self.may_go(members.as_deref()) else {
            return Ok(());
        };
        if self.node(&kubernetes).await?.is_none()
            && let Some(member) = self.member(members.as_deref().unwrap_or_default())
        {
            kubernetes.apply(permit, &self.node_of(member)).await?;
        }
        kubernetes.delete(permit, &node).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, NOT_FOUND, permit, plan, world};

    const EMPTY: &str = "data=no\nmembers=\nend\n";

    fn step() -> OldNodeRemoved {
        let plan = plan();
        let start = Start::Join {
            via: "k3s-cp-2".into(),
            stale: true,
        };
        let control_plane = ControlPlane {
            starts: [("k3s-cp-1".to_owned(), start)].into(),
            ..ControlPlane::default()
        };
        OldNodeRemoved::new(&plan, &plan.servers[0], &control_plane).unwrap()
    }

    fn second(node: &str, members: &str) -> Fake {
        Fake::new()
            .says("kubectl delete", "")
            .says("/nodes/", node)
            .says("member/wal", &format!("data=yes\nmembers={members}\nend\n"))
    }

    #[tokio::test]
    async fn it_is_done_when_neither_node_nor_member_is_left() {
        let gone = r#"{"metadata":{"deletionTimestamp":"2026","finalizers":["wrangler.cattle.io/managed-etcd-controller"]}}"#;
        let member = r#"{"members":[{"ID":1,"name":"k3s-cp-1-00aa11bb"},{"ID":2,"name":"k3s-cp-2-00aa11bb"}]}"#;
        let without = r#"{"members":[{"ID":2,"name":"k3s-cp-2-00aa11bb"}]}"#;
        for (node, members, why) in [
            (r#"{"metadata":{}}"#, member, Some("still there")),
            (gone, member, Some("managed-etcd-controller")),
            (NOT_FOUND, member, Some("etcd still has")),
            (NOT_FOUND, without, None),
        ] {
            let fake = second(node, members);
            let own = Fake::new().says("member/wal", EMPTY);
            let world = world(&[("k3s-cp-1", &own), ("k3s-cp-2", &fake)]);
            let found = step().check(&world, Phase::Before).await.unwrap();
            match (found, why) {
                (Finding::Done(_), None) => {}
                (Finding::Differs(found) | Finding::Unknown(found), Some(why)) => {
                    assert!(found.contains(why), "{found}");
                }
                (found, why) => panic!("{found:?} instead of {why:?}"),
            }
        }
    }

    /// A server that lost its disk as a learner, or as a voter whose kubelet had not begun, would never join again: k3s removes
    /// members with their Nodes only.
    #[tokio::test]
    async fn a_member_without_a_node_is_removed_by_one_made_for_it() {
        let learner = r#"{"members":[{"ID":1,"name":"k3s-cp-1-00aa11bb","isLearner":true},{"ID":2,"name":"k3s-cp-2-00aa11bb"}]}"#;
        let unnamed = r#"{"members":[{"ID":1,"name":"","isLearner":true},{"ID":2,"name":"k3s-cp-2-00aa11bb"}]}"#;
        for (members, node, made) in [
            (learner, NOT_FOUND, true),
            (unnamed, NOT_FOUND, false),
            (learner, r#"{"metadata":{}}"#, false),
        ] {
            let own = Fake::new().says("member/wal", EMPTY);
            let second = second(node, members);
            let world = world(&[("k3s-cp-1", &own), ("k3s-cp-2", &second)]);
            step().apply(&world, &permit()).await.unwrap();
            let told = second.told();
            let made_for: Vec<&String> = told
                .iter()
                .filter(|(command, _)| command.contains("kubectl apply"))
                .map(|(_, object)| object)
                .collect();
            assert_eq!(made_for.len(), usize::from(made), "{members} {node}");
            assert!(made_for.iter().all(|object| {
                object.contains(r#""etcd.k3s.cattle.io/node-name":"k3s-cp-1-00aa11bb""#)
                    && object.contains(MEMBER_FINALIZER)
            }));
            assert!(second.was_told("kubectl delete"));
        }
    }

    /// A run that was killed left a server joining: it has data a moment after it was asked, and the Node is its own.
    #[tokio::test]
    async fn a_server_that_joined_meanwhile_keeps_its_node() {
        let own = Fake::new().says("member/wal", "data=yes\nmembers=\nend\n");
        let second = second(r#"{"metadata":{}}"#, "");
        let world = world(&[("k3s-cp-1", &own), ("k3s-cp-2", &second)]);
        assert_eq!(
            step().check(&world, Phase::Before).await.unwrap(),
            Finding::done()
        );
    }

    #[tokio::test]
    async fn a_node_is_not_deleted_where_no_quorum_answers() {
        let own = Fake::new().says("member/wal", EMPTY);
        let second = second(r#"{"metadata":{}}"#, "");
        let world = world(&[("k3s-cp-1", &own), ("k3s-cp-2", &second)]);
        let found = step().check(&world, Phase::Before).await.unwrap();
        assert!(
            matches!(&found, Finding::Unknown(why) if why.contains("no quorum answers through k3s-cp-2")),
            "{found:?}"
        );
        step().apply(&world, &permit()).await.unwrap();
        assert!(!second.was_told("delete"));
    }

    #[tokio::test]
    async fn the_node_of_a_server_with_data_is_not_deleted() {
        for (data, deleted) in [(EMPTY, true), ("data=yes\nmembers=\nend\n", false)] {
            let first = Fake::new().says("member/wal", data);
            let members = r#"{"members":[{"ID":2,"name":"k3s-cp-2-00aa11bb"}]}"#;
            let second = second(NOT_FOUND, members);
            let world = world(&[("k3s-cp-1", &first), ("k3s-cp-2", &second)]);
            let applied = step().apply(&world, &permit()).await;
            applied.unwrap();
            assert_eq!(second.was_told("delete"), deleted);
        }
    }
}
