//! This workstation routes a control-plane network through its host (`--workstation-route`).

use std::net::Ipv4Addr;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use serde_json::Value;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan};
use crate::remote::{Local, Machine, Probe, Script, sudo};
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct WorkstationRoute {
    cidr: Ipv4Net,
    gateway: Ipv4Addr,
    via: Ipv4Addr,
    host: String,
}

impl WorkstationRoute {
    /// None where the daemon's host is not known.
    pub(crate) fn new(plan: &Plan, daemon: &Daemon) -> Option<Self> {
        Some(Self {
            cidr: daemon.cidr,
            gateway: daemon.gateway(),
            via: plan.via(None, &daemon.host)?,
            host: daemon.host.clone(),
        })
    }

    fn command(&self) -> String {
        format!("sudo ip route replace {} via {}", self.cidr, self.via)
    }
}

/// Whether `ip -j route get` says that the way leads through `via`, or to an interface of our own.
fn leads(answer: &str, via: Ipv4Addr) -> bool {
    let routes: Value = serde_json::from_str(answer).unwrap_or_default();
    let route = &routes[0];
    route["gateway"].as_str() == Some(&via.to_string()) || route["type"] == "local"
}

#[async_trait]
impl Step<World> for WorkstationRoute {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::WorkstationRoute.on(&self.host),
            format!(
                "Route {} through {} on this workstation",
                self.cidr, self.host
            ),
            self.command(),
        )
    }

    async fn check(&self, _: &World, _: Phase) -> Result<Finding> {
        let probe = Probe::RouteTo(self.gateway.to_string());
        let here = Machine::new(
            "this workstation",
            Box::new(Local),
            crate::remote::Sudo::Root,
        );
        let answer = here.probe(&probe).await?;
        Ok(if leads(&answer.stdout, self.via) {
            Finding::done()
        } else {
            Finding::differs("there is no such route; it lasts until this workstation reboots")
        })
    }

    async fn apply(&self, _: &World, permit: &WritePermit) -> Result<()> {
        let sudo = sudo::find("this workstation", &Local, None)
            .await
            .map_err(|failure| {
                Failure::new(Code::Sudo, "cannot install this workstation's route")
                    .because(failure)
                    .hint(self.command())
            })?;
        let here = Machine::new("this workstation", Box::new(Local), sudo);
        let (cidr, via) = (self.cidr.to_string(), self.via.to_string());
        let script = Script::new("ip route replace {} via {}", &[&cidr, &via]);
        here.must(permit, "installing the route", &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_route_through_the_host_or_to_ourselves_counts() {
        let via = Ipv4Addr::new(192, 168, 1, 11);
        assert!(leads(
            r#"[{"dst":"192.168.137.1","gateway":"192.168.1.11","dev":"eth0"}]"#,
            via
        ));
        assert!(leads(
            r#"[{"type":"local","dst":"192.168.137.1","dev":"lo"}]"#,
            via
        ));
        assert!(!leads(
            r#"[{"dst":"192.168.137.1","gateway":"192.168.1.1"}]"#,
            via
        ));
        assert!(!leads("", via));
    }
}
