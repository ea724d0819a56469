//! What the person is shown before a host leaves: what would go, and what would be lost with it.

use std::fmt::Write as _;
use std::time::Duration;

use super::tokens;
use crate::cli::RemoveHost;
use crate::escape::escape;
use crate::failure::Result;
use crate::names::autoscaler::GROUP_LABEL;
use crate::question::limited;
use crate::steps::local_data::{self, Stake};
use crate::steps::removal::DaemonToRemove;
use crate::world::World;

/// For how long the cluster is asked what would go, before the person is.
pub(super) const LOOK: Duration = Duration::from_secs(20);

/// What would go, and what would be lost with it.
pub(super) async fn prospect(
    world: &World,
    remains: &[DaemonToRemove],
    options: &RemoveHost,
) -> (String, Stake) {
    let name = &options.name;
    let groups: Vec<&str> = remains.iter().map(|daemon| &*daemon.group).collect();
    let what = if options.agents {
        format!("the agents of {name}")
    } else {
        name.clone()
    };
    let mut text = format!("This takes {what} out of {}:\n", world.plan.cluster);
    let ending = tokens::ending(world, &groups);
    let nodes = limited(LOOK, nodes(world, &groups));
    let (nodes, loss) = tokio::join!(nodes, local_data::of_groups(world, &ending));
    match nodes {
        Ok(Ok(nodes)) if nodes.is_empty() => text.push_str("  it has no nodes now\n"),
        Ok(Ok(nodes)) => {
            let _ = writeln!(text, "  nodes: {}", escape(&nodes.join(", ")));
        }
        Ok(Err(failure)) => {
            let why = escape(&failure.to_string());
            let _ = writeln!(text, "  its nodes are not known: {why}");
        }
        Err(_) => text.push_str("  its nodes are not known: no server answers\n"),
    }
    text.push_str(tokens::told(world));
    text.push_str(&on_the_host(remains, options, &groups));
    if world.plan.workers().next().is_none() {
        text.push_str("  no other host runs agents: the autoscaler is removed, too\n");
    }
    (text, loss)
}

/// What is done on the host, and what stays there.
fn on_the_host(remains: &[DaemonToRemove], options: &RemoveHost, groups: &[&str]) -> String {
    let (name, mut text) = (&options.name, String::new());
    if options.gone {
        let _ = writeln!(
            text,
            "  nothing is done on {name} itself; pods there are made anew elsewhere"
        );
        text.push_str(if options.keep_token {
            "  the agents' join token, which its disks hold, stays as it is\n"
        } else {
            "  the agents' join token, which its disks hold, is replaced: servers restart one by one\n"
        });
    } else {
        let groups = if groups.is_empty() {
            "no group".to_owned()
        } else {
            format!("group {}", groups.join(", "))
        };
        let rest = if options.agents { "" } else { ", routes, mark" };
        let _ = writeln!(text, "  on {name}: {groups} with VMs and disks{rest}");
        for files in remains.iter().filter_map(DaemonToRemove::kept_files) {
            let _ = writeln!(text, "    but {files} stay: they were not ours");
        }
        let how = if options.force {
            "pods are deleted, also those that a PodDisruptionBudget protects"
        } else {
            "pods are evicted as PodDisruptionBudgets allow; --force does not mind them"
        };
        let _ = writeln!(text, "  {how}, for at most {} s", options.drain_limit);
    }
    text
}

async fn nodes(world: &World, groups: &[&str]) -> Result<Vec<String>> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let kubernetes = world.kubernetes().await?;
    let ours = format!("{GROUP_LABEL} in ({})", groups.join(","));
    let nodes = kubernetes.list_metadata(&["nodes", "-l", &ours]).await?;
    let names = nodes.iter().map(|node| node["metadata"]["name"].as_str());
    Ok(names.flatten().map(str::to_owned).collect())
}
