//! A world of such machines.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Fake, machine, plan};
use crate::secret::Secret;
use crate::state::Secrets;
use crate::world::World;

/// A world whose hosts and servers are these.
pub(crate) fn world(machines: &[(&str, &Fake)]) -> World {
    let plan = plan();
    let make = |name: &str, fake: &Fake| Arc::new(machine(name, fake.clone()));
    let hosts: HashMap<_, _> = machines
        .iter()
        .filter(|(name, _)| plan.host(name).is_some())
        .map(|(name, fake)| ((*name).to_owned(), make(name, fake)))
        .collect();
    let world = World::new(plan, secrets(), hosts);
    for (name, fake) in machines {
        if world.plan.servers.iter().any(|server| server.name == *name) {
            world.put_server(name, make(name, fake));
        }
    }
    world
}

pub(crate) fn secrets() -> Secrets {
    Secrets {
        server_token: Secret::new("5e7ve7"),
        agent_token: Secret::new("a9e47"),
        ssh_private_key: Secret::new("PRIVATE"),
        ssh_public_key: "ssh-ed25519 AAAA cluster".into(),
        retired: crate::state::Retired::default(),
        former: Vec::new(),
    }
}
