//! The way from a server to a VM or gateway of another host: whether there is one and, where there is none, whose fault it is.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::failure::Result;
use crate::plan::{Plan, Server};
use crate::remote::Probe;
use crate::step_id::{StepId, StepName};
use crate::world::World;

/// Whether a TCP connection from the server to this port comes about.
pub(crate) async fn open(world: &World, from: &Server, to: Ipv4Addr, port: u16) -> Result<bool> {
    let probe = Probe::Tcp { address: to, port };
    Ok(world.server(from).await?.probe(&probe).await?.ok())
}

/// The routes of the hosts that lie between two others.
pub(crate) fn routes_between(plan: &Plan, one: &str, other: &str) -> Vec<StepId> {
    let between = plan.between(one, other).into_iter();
    between
        .filter(|host| plan.host(host).is_some())
        .map(|host| StepName::Routes.on(host))
        .collect()
}

/// What is missing between the server and an address that `host` answers for: a route there, one back, or neither.
pub(crate) async fn broken(world: &World, from: &Server, to: Ipv4Addr, host: &str) -> String {
    let through = world.plan.between(&from.host, host);
    let mut hosts = vec![&*from.host];
    hosts.extend(through.into_iter().chain([host]));
    hosts.dedup();
    for (ends, address) in [
        ((&*from.host, host), to),
        ((host, &*from.host), from.address),
    ] {
        for near in hosts.iter().filter(|near| **near != ends.1) {
            if let Some(why) = misled(world, near, ends.1, address).await {
                return why;
            }
        }
    }
    let hosts = hosts.join(" and ");
    format!(
        "routes are as they should be, so a firewall drops it: sudo iptables -S FORWARD on {hosts}"
    )
}

/// How `near` sends packets for `address` elsewhere than to `far`, whose VM has it.
async fn misled(world: &World, near: &str, far: &str, address: Ipv4Addr) -> Option<String> {
    let via = world.plan.via(Some(near), far)?;
    let daemon = world
        .plan
        .daemons_of(far)
        .find(|daemon| daemon.cidr.contains(&address))?;
    let probe = Probe::RouteTo(address.to_string());
    let answer = world.host(near).ok()?.probe(&probe).await.ok()?;
    let routes: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
    let route = format!("{} via {via}", daemon.cidr.trunc());
    match routes[0]["gateway"].as_str() {
        Some(gateway) if gateway == via.to_string() => None,
        Some(gateway) => Some(format!(
            "{near} has no route to {route}: it sends that to {gateway}"
        )),
        None => Some(format!("{near} has no route to {route}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    /// Whoever reads it must know on which machine which route is missing, also where it is the way back.
    #[tokio::test]
    async fn the_missing_route_is_named() {
        let there = r#"[{"dst":"192.168.138.5","gateway":"192.168.1.12"}]"#;
        let back = r#"[{"dst":"192.168.137.2","gateway":"192.168.1.11"}]"#;
        let lost = r#"[{"dst":"192.168.137.2","gateway":"192.168.1.1"}]"#;
        for (n100, ryzen, said) in [
            (
                "[]",
                back,
                "n100 has no route to 192.168.138.0/24 via 192.168.1.12",
            ),
            (
                there,
                lost,
                "ryzen has no route to 192.168.137.0/24 via 192.168.1.11: it sends that to 192.168.1.1",
            ),
            (there, back, "a firewall"),
        ] {
            let (n100, ryzen) = (
                Fake::new().says("route get", n100),
                Fake::new().says("route get", ryzen),
            );
            let world = world(&[("n100", &n100), ("ryzen", &ryzen)]);
            let server = world.plan.servers[0].clone();
            let why = broken(&world, &server, [192, 168, 138, 5].into(), "ryzen").await;
            assert!(why.contains(said), "{why}");
        }
    }

    /// A gateway in between may have lost the route, too.
    #[tokio::test]
    async fn the_host_between_is_asked_as_well() {
        let (n100, ryzen) = (
            Fake::new().says("route get", r#"[{"gateway":"10.20.0.1"}]"#),
            Fake::new().says("route get", "[]"),
        );
        let mut world = world(&[("n100", &n100), ("ryzen", &ryzen)]);
        let mut behind = world.plan.hosts[0].clone();
        behind.name = "attic".into();
        behind.lan_address = [10, 20, 0, 2].into();
        behind.behind = Some(crate::plan::NatGateway {
            gateway: "ryzen".into(),
            inner: [10, 20, 0, 1].into(),
        });
        world.plan.hosts.push(behind);
        let mut server = world.plan.servers[0].clone();
        server.host = "attic".into();
        world.plan.daemons[1].host = "n100".into();
        let why = broken(&world, &server, [192, 168, 138, 5].into(), "n100").await;
        assert!(
            why.contains("ryzen has no route to 192.168.138.0/24 via 192.168.1.11"),
            "{why}"
        );
    }
}
