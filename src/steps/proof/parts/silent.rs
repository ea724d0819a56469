//! Why no VM comes: another group that does not answer keeps the autoscaler from scaling this one (see `status::compare::scaling`,
//! where the provider's source is named).

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::kubernetes::Kubernetes;
use crate::plan::Daemon;
use crate::question::limited;
use crate::steps::autoscaler::cloud_config;
use crate::steps::proof::ProofRun;
use crate::world::World;

/// What a daemon of the same LAN takes to answer; the step looks twice a second, and must not miss its VM for this.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two rounds of questions. The first comes when a VM would usually be there.
const PAUSE: Duration = Duration::from_secs(15);

/// When the others are asked next, and what was found last.
#[derive(Default)]
pub(crate) struct Silent {
    next: Option<Instant>,
    found: Option<String>,
}

/// What keeps the autoscaler, in one sentence, as it was found not long ago; `None` where all the other groups in its configuration
/// answer.
pub(crate) async fn found(
    world: &World,
    kubernetes: &Kubernetes,
    trial: &ProofRun,
) -> Option<String> {
    let now = Instant::now();
    {
        let mut progress = trial.progress();
        let silent = &mut progress.silent;
        let due = silent.next.is_some_and(|next| next <= now);
        if !due {
            silent.next.get_or_insert(now + PAUSE);
            return silent.found.clone();
        }
    }
    let found = look(world, kubernetes, trial).await;
    let mut progress = trial.progress();
    progress.silent = Silent {
        next: Some(Instant::now() + PAUSE),
        found: found.clone(),
    };
    found
}

async fn look(world: &World, kubernetes: &Kubernetes, trial: &ProofRun) -> Option<String> {
    let scaled = cloud_config::groups(kubernetes).await.ok()?;
    let others = world.plan.workers();
    let others = others.filter(|it| it.group != trial.daemon.group && scaled.contains(&it.group));
    let asked =
        others.map(|daemon| async move { (!answers(world, daemon).await).then_some(daemon) });
    let silent = join_all(asked).await.into_iter().flatten().next()?;
    Some(format!(
        "{} ({}) does not answer the autoscaler: slicer-k3s init takes it out",
        silent.group, silent.host
    ))
}

async fn answers(world: &World, daemon: &Daemon) -> bool {
    let asked = async { world.slicer(daemon).await?.vms(&daemon.group).await };
    matches!(limited(ANSWER, asked).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::names::autoscaler::CLOUD_CONFIG_KEY;
    use crate::testing::{Fake, world};

    fn server(groups: &[&str]) -> Fake {
        let sections: Vec<String> = groups
            .iter()
            .map(|group| format!("[nodegroup \"{group}\"]\n"))
            .collect();
        let file = sections.concat();
        let secret = serde_json::json!({"data": {CLOUD_CONFIG_KEY: STANDARD.encode(file)}});
        Fake::new().says("secret", &secret.to_string())
    }

    /// A proof waited for seven minutes with the scheduler's words, while another host's cable was out.
    #[tokio::test(start_paused = true)]
    async fn the_group_that_keeps_the_autoscaler_is_named_once_it_takes_long() {
        let both = ["k3s-agents-1", "k3s-agents-2"];
        for (groups, answers, named) in [
            (&both[..], false, true),
            (&both[..], true, false),
            // Not in the autoscaler's configuration: it keeps no one.
            (&both[..1], false, false),
        ] {
            let host = Fake::new().says("auth/token", "t\n");
            let host = if answers {
                host.says("GET /hostgroup", "[]")
            } else {
                host
            };
            let server = server(groups);
            let world = world(&[("k3s-cp-1", &server), ("n100", &host)]);
            let kubernetes = world.kubernetes().await.unwrap();
            let trial = crate::steps::proof::trial(true);
            assert_eq!(found(&world, &kubernetes, &trial).await, None, "too early");
            tokio::time::advance(PAUSE).await;
            let told = found(&world, &kubernetes, &trial).await;
            assert_eq!(told.is_some(), named, "{told:?}");
            if let Some(told) = told {
                assert!(
                    told.starts_with("k3s-agents-2 (n100) does not answer"),
                    "{told}"
                );
                // Between two rounds it is remembered.
                let again = found(&world, &kubernetes, &trial).await;
                assert_eq!(again, Some(told));
            }
        }
    }
}
