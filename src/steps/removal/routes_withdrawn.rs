//! A host has no routes to the VMs of one that left: another may get their network.

use async_trait::async_trait;

use crate::failure::Result;
use crate::generate::{self, ROUTES_UNIT, Route};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::step_id::{StepId, StepName};
use crate::steps::host::routes;
use crate::world::World;

pub(crate) struct RoutesWithdrawn {
    host: String,
    routes: Vec<Route>,
    needs: Vec<StepId>,
}

impl RoutesWithdrawn {
    /// Once nothing is left at their other end.
    pub(crate) fn new(host: &str, routes: &[Route], needs: &[StepId]) -> Self {
        Self {
            host: host.to_owned(),
            routes: routes.to_vec(),
            needs: needs.to_vec(),
        }
    }
}

#[async_trait]
impl Step<World> for RoutesWithdrawn {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::RoutesWithdrawn.on(&self.host),
            format!("Withdraw the routes that {} no longer needs", self.host),
            format!(
                "on {}: ip route; sudo journalctl -u {ROUTES_UNIT} -n 20",
                self.host
            ),
        )
        .needs(self.needs.clone())
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        for file in generate::host_routes(&world.plan, &self.host)? {
            if let Some(why) = file.differs(host).await? {
                return Ok(Finding::Differs(why));
            }
        }
        let left = routes::present(host, &self.routes).await?;
        Ok(match left.first() {
            Some(route) => Finding::differs(format!("{} via {} is there", route.cidr, route.via)),
            None => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let host = world.host(&self.host)?;
        for file in generate::host_routes(&world.plan, &self.host)? {
            file.write(host, permit).await?;
        }
        let left = routes::present(host, &self.routes).await?;
        routes::withdraw(host, permit, &left).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, world};

    /// The network may be somebody else's by now.
    #[tokio::test]
    async fn only_the_route_through_the_host_that_left_goes() {
        let route = |third: u8| Route {
            cidr: format!("192.168.{third}.0/24").parse().unwrap(),
            via: [192, 168, 1, 13].into(),
        };
        let table = r#"[{"dst":"192.168.140.0/24","gateway":"192.168.1.13"},{"dst":"192.168.141.0/24","gateway":"192.168.1.12"}]"#;
        let fake = Fake::new().says("route show", table);
        let host = world(&[("n100", &fake)]);
        let machine = host.host("n100").unwrap();
        let routes = [route(140), route(141)];
        assert_eq!(
            routes::present(machine, &routes).await.unwrap(),
            [route(140)]
        );
        let step = RoutesWithdrawn::new("n100", &routes, &[]);
        step.apply(&host, &permit()).await.unwrap();
        assert!(fake.was_told("ip -4 route delete"));
    }
}
