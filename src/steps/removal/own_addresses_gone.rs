//! A host keeps no addresses of the cluster's servers any more.

use async_trait::async_trait;

use crate::deletion::DeletablePath;
use crate::failure::Result;
use crate::generate::{ROUTES_UNIT, own_addresses_path, own_addresses_table};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::remote::{Probe, Script};
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct OwnAddressesGone {
    host: String,
}

impl OwnAddressesGone {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
        }
    }
}

/// The keeper begins anew in between: what it has read already it would put back.
const REMOVE: &str = "set -e; rm -f -- {}; systemctl try-restart {} 2>/dev/null || true
t={}; if nft list table ip \"$t\" >/dev/null 2>&1; then nft delete table ip \"$t\"; fi";

#[async_trait]
impl Step<World> for OwnAddressesGone {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::OwnAddressesGone.on(&self.host),
            format!("Keep no server's address on {}", self.host),
            format!("on {}: sudo nft list tables", self.host),
        )
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        let path = own_addresses_path(&world.plan.cluster);
        if host.read(&path).await?.is_some() {
            return Ok(Finding::differs(format!("{path} is there")));
        }
        let table = own_addresses_table(&world.plan.cluster);
        let probe = Probe::NatTable(table.clone());
        Ok(if host.probe(&probe).await?.ok() {
            Finding::differs(format!("nftables has a table {table}"))
        } else {
            Finding::done()
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let cluster = &world.plan.cluster;
        let path = DeletablePath::of_cluster(cluster, &own_addresses_path(cluster))?;
        let table = own_addresses_table(cluster);
        let script = Script::new(REMOVE, &[path.as_str(), ROUTES_UNIT, &table]);
        let host = world.host(&self.host)?;
        host.must(permit, "removing the table of addresses", &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    #[tokio::test]
    async fn file_and_table_must_both_be_gone() {
        let step = OwnAddressesGone::new("n100");
        for (file, table, gone) in [(0, 1, false), (1, 0, false), (1, 1, true)] {
            let fake = Fake::new()
                .answers("cat --", file, "")
                .answers("nft list", table, "");
            let found = step
                .check(&world(&[("n100", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), gone, "{file} {table}");
        }
    }
}
