//! Groups that the autoscaler has on hosts which this run does not reach. Such a host may be off, or only out of this
//! workstation's reach, as behind a VPN: the servers can say which.

use futures_util::future::{join_all, try_join_all};

use crate::failure::{Code, Failure, Result};
use crate::generate::{NodeGroup, node_groups};
use crate::plan::Plan;
use crate::steps::group::reachable::answers_from;
use crate::world::World;

/// Those of `file`, the autoscaler's cloud-config, whose API answers from the servers, as they are in it.
pub(crate) async fn groups(world: &World, file: &str) -> Result<Vec<NodeGroup>> {
    let groups = node_groups(file).into_iter();
    let away = groups.filter(|group| is_away(&world.plan, group));
    let asked = away.map(|group| async move {
        let answers = answers(world, &group.url).await?;
        Ok::<_, Failure>(answers.then_some(group))
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
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
    let servers = world.plan.servers_here();
    let asked = servers.map(|server| answers_from(world, server, url));
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
pub(crate) fn in_order(
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::remote::{Machine, Sudo};
    use crate::steps::group::reachable::ANSWER;
    use crate::testing::{Fake, Hangs, world};

    /// One server that hung cost each group of a host behind a VPN up to 45 s, one after the other.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_costs_its_time_once_for_all_groups() {
        let well = Fake::new().says("http_code", "401");
        let mut world = world(&[("k3s-cp-2", &well), ("k3s-cp-3", &well)]);
        let hangs = Machine::new("k3s-cp-1", Box::new(Hangs), Sudo::Root);
        world.put_server("k3s-cp-1", Arc::new(hangs));
        world.plan.away = vec![crate::plan::OfflineHost {
            host: "far".into(),
            lan_address: [192, 168, 1, 12].into(),
            behind: None,
            cidrs: vec!["192.168.200.0/24".parse().unwrap()],
        }];
        let group = |name: &str| NodeGroup {
            name: name.into(),
            url: "http://192.168.200.1:8082".into(),
            token: crate::secret::Secret::new("t0ken"),
            min: 0,
            max: 4,
        };
        let all = ["a", "b", "c"].map(group);
        let token = crate::secret::Secret::new("K");
        let file = crate::generate::cloud_config("https://x", &token, &all).unwrap();
        let begin = tokio::time::Instant::now();
        assert_eq!(groups(&world, &file).await.unwrap(), all);
        assert_eq!(begin.elapsed(), ANSWER);
    }
}
