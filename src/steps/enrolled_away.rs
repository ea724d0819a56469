//! Groups that the autoscaler has on hosts which this run does not reach. Such a host may be off, or only out of this
//! workstation's reach, as behind a VPN: the servers can say which.

use futures_util::future::join_all;

use crate::failure::{Code, Failure, Result};
use crate::generate::{NodeGroup, node_groups};
use crate::plan::Plan;
use crate::remote::Look;
use crate::world::World;

/// Those of `file`, the autoscaler's cloud-config, whose API answers from the servers, as they are in it.
pub(super) async fn groups(world: &World, file: &str) -> Result<Vec<NodeGroup>> {
    let mut kept = Vec::new();
    for group in node_groups(file) {
        if is_away(&world.plan, &group) && answers(world, &group.url).await? {
            kept.push(group);
        }
    }
    Ok(kept)
}

/// Whether a group is one of a host that is not reached.
fn is_away(plan: &Plan, group: &NodeGroup) -> bool {
    let address = group.url.strip_prefix("http://").and_then(|rest| {
        let host = rest.split([':', '/']).next()?;
        host.parse::<std::net::Ipv4Addr>().ok()
    });
    let mut networks = plan.away.iter().flat_map(|away| &away.cidrs);
    plan.daemon(&group.name).is_none()
        && address.is_some_and(|address| networks.any(|cidr| cidr.contains(&address)))
}

/// Whether an API answers from every server that can be asked; a failure where none can.
async fn answers(world: &World, url: &str) -> Result<bool> {
    let asked = world.plan.servers_here().map(|server| async {
        let look = Look::Http(format!("{url}/hostgroup"));
        let said = world.server(server).await?.look(&look).await?.stdout;
        // Any answer will do, a refusal without a token most of all.
        Ok::<bool, Failure>(matches!(said.trim().parse::<u16>(), Ok(100..=599)))
    });
    let (mut said, mut last) = (None, None);
    for answer in join_all(asked).await {
        match answer {
            Ok(answers) => said = Some(said.unwrap_or(true) && answers),
            Err(failure) => last = Some(failure),
        }
    }
    said.ok_or_else(|| {
        last.unwrap_or_else(|| Failure::new(Code::Route, "no server can be asked for a group"))
    })
}

/// The groups of the plan and those that stay, in the order of the file that is there: nothing restarts for another one.
pub(super) fn in_order(
    mut groups: Vec<NodeGroup>,
    kept: Vec<NodeGroup>,
    file: &str,
) -> Vec<NodeGroup> {
    let order = node_groups(file);
    for group in kept {
        let before = order.iter().take_while(|other| other.name != group.name);
        let place = before
            .filter_map(|before| groups.iter().position(|it| it.name == before.name))
            .last();
        groups.insert(place.map_or(0, |place| place + 1), group);
    }
    groups
}
