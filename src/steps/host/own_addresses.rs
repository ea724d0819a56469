//! The host's servers reach those on other hosts under their own addresses, whatever Slicer masquerades: etcd refuses a peer
//! whose address is not in its certificate, and servers would never join.

use async_trait::async_trait;

use crate::failure::{Code, Result};
use crate::generate::{self, own_addresses_path, own_addresses_table, server_paths};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Host, Plan};
use crate::remote::{Probe, Script};
use crate::step_id::StepName;
use crate::steps::support::diff;
use crate::world::World;

pub(crate) struct OwnAddresses {
    host: String,
}

impl OwnAddresses {
    /// Where it has servers, and others are elsewhere.
    pub(crate) fn new(plan: &Plan, host: &Host) -> Option<Self> {
        let host = host.name.clone();
        (!server_paths(plan, &host).is_empty()).then_some(Self { host })
    }
}

#[async_trait]
impl Step<World> for OwnAddresses {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::OwnAddresses.on(&self.host),
            format!("Keep the addresses of {}'s servers on the way", self.host),
            format!(
                "on {}: sudo nft list ruleset; where there is no nft, install nftables",
                self.host
            ),
        )
        // The routes' keeper keeps this, too.
        .needs([StepName::Routes.on(&self.host)])
        .code(Code::Route)
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let (plan, host) = (&world.plan, world.host(&self.host)?);
        if let Some(file) = generate::own_addresses(plan, &self.host)?
            && let Some(why) = file.differs(host).await?
        {
            return Ok(Finding::Differs(why));
        }
        let probe = Probe::NatTable(own_addresses_table(&plan.cluster));
        let table = host.probe(&probe).await?.stdout;
        let kept = |rule: &String| table.lines().any(|line| line.contains(rule));
        let mut rules = server_paths(plan, &self.host)
            .into_iter()
            .map(|way| format!("{way} snat"));
        Ok(match rules.find(|rule| !kept(rule)) {
            Some(rule) => Finding::differs(format!("no rule {rule} in nftables")),
            None => Finding::done(),
        })
    }

    async fn diff(&self, world: &World) -> Result<String> {
        let file = generate::own_addresses(&world.plan, &self.host)?;
        diff::of_files(world.host(&self.host)?, file).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.host)?;
        if let Some(file) = generate::own_addresses(&world.plan, &self.host)? {
            file.write(host, permit).await?;
        }
        let load = Script::new("nft -f {}", &[&own_addresses_path(&world.plan.cluster)]);
        host.must(permit, "loading the table of addresses", &load)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::secret::sha256;
    use crate::testing::{Fake, machine, permit, plan, secrets, spread};

    fn ryzen(fake: &Fake) -> World {
        let host = Arc::new(machine("ryzen", fake.clone()));
        World::new(spread(), secrets(), HashMap::from([("ryzen".into(), host)]))
    }

    #[test]
    fn only_servers_on_several_hosts_need_it() {
        let (one, spread) = (plan(), spread());
        assert!(OwnAddresses::new(&one, &one.hosts[0]).is_none());
        assert!(
            spread
                .hosts
                .iter()
                .all(|host| OwnAddresses::new(&spread, host).is_some())
        );
    }

    /// The file may be right and the kernel have nothing, or only some of it.
    #[tokio::test]
    async fn every_way_must_be_in_the_kernel() {
        let file = generate::own_addresses(&spread(), "ryzen")
            .unwrap()
            .unwrap();
        let facts = format!("644 0 0\n{}  -\n", sha256(file.content.as_bytes()));
        let all = "\t\tip saddr 192.168.138.2 ip daddr 192.168.137.2 snat to ip saddr\n\
                   \t\tip saddr 192.168.138.2 ip daddr 192.168.137.3 snat to ip saddr\n";
        let some = all.lines().next().unwrap();
        let step = OwnAddresses {
            host: "ryzen".into(),
        };
        for (table, missing) in [
            (all, None),
            (some, Some("192.168.137.3")),
            ("", Some("192.168.137.2")),
        ] {
            let fake = Fake::new().says("stat", &facts).says("nft list", table);
            let found = step.check(&ryzen(&fake), Phase::Before).await.unwrap();
            match missing {
                None => assert!(matches!(found, Finding::Done(_))),
                Some(address) => {
                    assert!(matches!(found, Finding::Differs(why) if why.contains(address)));
                }
            }
        }
        let fake = Fake::new();
        step.apply(&ryzen(&fake), &permit()).await.unwrap();
        assert!(fake.was_told("nft -f /etc/slicer-k3s/own-addresses.d/home"));
    }
}
