//! The way from a server to a VM or gateway of another host: whether there is one and, where there is none, whose fault it is.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::failure::Result;
use crate::plan::Server;
use crate::remote::Look;
use crate::world::World;

/// Whether a TCP connection from the server to this port comes about.
pub(super) async fn open(world: &World, from: &Server, to: Ipv4Addr, port: u16) -> Result<bool> {
    let look = Look::Tcp { address: to, port };
    Ok(world.server(from).await?.look(&look).await?.ok())
}

/// What is missing between the server and an address that `host` answers for: a route there, one back, or neither.
pub(super) async fn broken(world: &World, from: &Server, to: Ipv4Addr, host: &str) -> String {
    let ways = [(&*from.host, host, to), (host, &*from.host, from.address)];
    for (near, far, address) in ways.into_iter().filter(|(near, far, _)| near != far) {
        if let Some(why) = misled(world, near, far, address).await {
            return why;
        }
    }
    let hosts = if from.host == host {
        host.to_owned()
    } else {
        format!("{} and {host}", from.host)
    };
    format!(
        "routes are as they should be, so a firewall drops it: sudo iptables -S FORWARD on {hosts}"
    )
}

/// How `near` sends packets for `address` elsewhere than to `far`, whose VM has it.
async fn misled(world: &World, near: &str, far: &str, address: Ipv4Addr) -> Option<String> {
    let via = world.plan.host(far)?.lan_address;
    let daemon = world
        .plan
        .daemons_of(far)
        .find(|daemon| daemon.cidr.contains(&address))?;
    let look = Look::RouteTo(address.to_string());
    let answer = world.host(near).ok()?.look(&look).await.ok()?;
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
    use crate::steps::testing::{Fake, world};

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
}
