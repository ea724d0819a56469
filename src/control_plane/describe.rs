//! What each of several clusters holds, so that a person can choose: its age, its Nodes, its members.

use super::judge::Side;
use super::refusals::{Refusal, ago, counted, side};
use crate::failure::{Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::names::kubernetes::SYSTEM_NAMESPACE;
use crate::remote::Probe;
use crate::world::World;

/// The refusal's failure; where several clusters were seen, with what each holds.
pub async fn describe(world: &World, refusal: Refusal) -> Failure {
    if refusal.sides.is_empty() {
        return refusal.failure;
    }
    let mut parts = Vec::new();
    for seen in &refusal.sides {
        let inside = inside(world, seen).await;
        let inside =
            inside.unwrap_or_else(|failure| format!("what is in it is unknown: {failure}"));
        parts.push(format!("{}, {inside}", side(seen)));
    }
    let recorded = refusal.failure.cause.as_deref().unwrap_or_default();
    // What is on record stands behind what was seen.
    if let Some((_, record)) = recorded.split_once("; the one on record ") {
        parts.push(format!("the one on record {record}"));
    }
    refusal.failure.because(parts.join("; "))
}

/// A cluster's age and Nodes, as one of its servers that answers has them.
async fn inside(world: &World, side: &Side) -> Result<String> {
    let mut last = Failure::new(
        crate::failure::Code::Kubernetes,
        "none of its servers is in the plan",
    );
    for server in &world.plan.servers {
        if !side.servers.contains(&server.name) {
            continue;
        }
        match of_server(world, server).await {
            Ok(text) => return Ok(text),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn of_server(world: &World, server: &crate::plan::Server) -> Result<String> {
    let machine = world.server(server).await?.clone();
    let kubernetes = Kubernetes::on(machine.clone());
    let nodes = kubernetes.list_metadata(&["nodes"]).await?.len();
    let namespace = kubernetes.get(&["namespace", SYSTEM_NAMESPACE]).await?;
    let namespace = namespace.unwrap_or_default();
    let made = namespace["metadata"]["creationTimestamp"].as_str();
    let age = match made {
        Some(made) => {
            let since = machine.probe(&Probe::SecondsSince(made.to_owned())).await?;
            since.stdout.trim().parse().ok().map(ago)
        }
        None => None,
    };
    let age = age.map_or_else(|| "of unknown age".to_owned(), |age| format!("{age} old"));
    Ok(format!("{}, {age}", counted(nodes, "Node")))
}
