//! Who else on a host reads its Slicer API token: daemons of other clusters, or that someone made by hand.

use crate::deletion::users_of_the_token;
use crate::failure::{Code, Failure, Result};
use crate::fleet;
use crate::names::slicer::TOKEN_PATHS;
use crate::world::World;

/// Refuses to replace the token of a host where daemons that are not this cluster's use it: their clients would be refused from
/// their next restart on.
pub(super) async fn none_uses_the_token(world: &World, host: &str) -> Result<()> {
    let facts = fleet::facts(world.host(host)?).await?;
    let (cluster, own) = (&world.plan.cluster, world.plan.daemons_of(host));
    let others = users_of_the_token(cluster, own, &facts.daemons);
    if others.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = others.into_iter().collect();
    Err(Failure::new(
        Code::Outage,
        format!("other Slicer daemons on {host} use the token that would be replaced"),
    )
    .because(format!(
        "all daemons of a host read {} when they start; not of {cluster}: {}",
        TOKEN_PATHS[0],
        named.join("; ")
    ))
    .hint(format!(
        "slicer-k3s rotate-token --slicer {host} --also-others goes on; then restart these daemons and give the token to whatever uses their API"
    )))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::testing::{Fake, world};

    const HOST: &str = "== arch\n x86_64\n== cores\n 4\n== memory\n 16000000 kB\n== addresses\n [{\"ifname\":\"eth0\",\"addr_info\":[{\"local\":\"192.168.1.12\",\"prefixlen\":24}]}]\n";

    /// A survey of a host on which these directories have a daemon each.
    fn survey(directories: &[&str]) -> Fake {
        let mut text = HOST.to_owned();
        for directory in directories {
            let _ = writeln!(
                text,
                "== daemon\n process 7\n== daemon-directory\n {directory}\n== daemon-config\n {directory}/a.yaml"
            );
        }
        text.push_str("== end\n");
        Fake::new().says("section arch", &text)
    }

    /// Another cluster's autoscaler was refused after its daemon's next restart.
    #[tokio::test]
    async fn daemons_of_others_are_named_and_nothing_is_written() {
        for (directories, refused) in [
            (&["/var/lib/slicer-k3s/home/k3s-agents-1"][..], false),
            (
                &["/var/lib/slicer-k3s/home/k3s-agents-1", "/root/mine"],
                true,
            ),
            (&["/var/lib/slicer-k3s/work/b-1"], true),
        ] {
            let fake = survey(directories);
            let world = world(&[("ryzen", &fake)]);
            let may = none_uses_the_token(&world, "ryzen").await;
            assert_eq!(may.is_err(), refused, "{directories:?} {may:?}");
            if let Err(failure) = may {
                let last = directories[directories.len() - 1];
                assert!(failure.to_string().contains(last), "{failure}");
            }
        }
    }
}
