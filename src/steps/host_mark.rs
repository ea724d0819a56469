//! The host carries a mark: the decisions about it, without secrets, so that another workstation plans the same.

use async_trait::async_trait;
use serde_json::json;

use super::file::File;
use crate::failure::Result;
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Host;
use crate::world::World;

pub(super) struct HostMark {
    host: String,
}

pub(super) fn id(host: &str) -> StepId {
    StepId::new("host-mark", host)
}

impl HostMark {
    pub(super) fn new(host: &Host) -> Self {
        Self {
            host: host.name.clone(),
        }
    }

    fn file(&self, world: &World) -> File {
        let plan = &world.plan;
        let daemons: Vec<_> = plan.daemons_of(&self.host).collect();
        let servers: Vec<_> = plan
            .servers
            .iter()
            .filter(|server| server.host == self.host)
            .collect();
        let mark = json!({
            "version": 1,
            "cluster": plan.cluster,
            "host": self.host,
            "daemons": daemons,
            "servers": servers,
            "cluster_cidr": plan.k3s.cluster_cidr,
            "service_cidr": plan.k3s.service_cidr,
            "k3s_version": plan.k3s.version,
        });
        File {
            path: format!("/etc/slicer-k3s/{}.json", plan.cluster),
            mode: "0644",
            content: format!("{mark:#}\n"),
        }
    }
}

#[async_trait]
impl Step for HostMark {
    fn id(&self) -> StepId {
        id(&self.host)
    }

    fn title(&self) -> String {
        format!("Mark {} as a host of this cluster", self.host)
    }

    fn needs(&self) -> Vec<StepId> {
        vec![super::slicer_installed::id(&self.host)]
    }

    fn hint(&self) -> String {
        format!("on {}: df -h /etc", self.host)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let differs = self.file(world).differs(world.host(&self.host)?).await?;
        Ok(differs.map_or_else(Finding::done, Finding::Differs))
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        self.file(world).write(world.host(&self.host)?, hands).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::world;

    #[test]
    fn the_mark_holds_this_hosts_decisions_and_no_secret() {
        let world = world(&[]);
        let mark = HostMark {
            host: "ryzen".into(),
        }
        .file(&world);
        assert_eq!(mark.path, "/etc/slicer-k3s/home.json");
        assert!(mark.content.contains("k3s-agents-1") && !mark.content.contains("k3s-agents-2"));
        for secret in ["5e7ve7", "a9e47", "PRIVATE"] {
            assert!(!mark.content.contains(secret));
        }
    }
}
