//! What `init` does about a rotation of join tokens that another run has left.

use crate::commands::context::StateDir;
use crate::failure::Result;
use crate::state::{Secrets, State};
use crate::world::World;
use crate::{report, steps};

/// Begins a rotation of join tokens that is on record and has not begun, where every server is well. Otherwise it is left for
/// later, and this run goes by the tokens that the servers have: it may bring them up. What is to be run then.
pub(super) async fn begin_or_leave(world: &mut World) -> Option<String> {
    let in_use = world.secrets.in_use();
    if in_use == world.secrets || steps::rotation::hindrance(world).await.is_none() {
        if let Some(words) = goes_on(&world.secrets) {
            report::say(words);
        }
        return None;
    }
    let next = world.secrets.unfinished_rotation().unwrap_or_default();
    world.secrets = in_use;
    Some(format!(
        "\nA join token was to be replaced, and no server has the new one yet: {next} begins it once every server is well."
    ))
}

/// What is left of a rotation where the agents are to be replaced.
fn agents_left(secrets: &Secrets) -> Option<String> {
    let retired = &secrets.retired;
    let next = secrets.unfinished_rotation()?;
    (retired.has_join_tokens() && retired.replace_agents)
        .then(|| format!("\nThe agents that joined by the old token are still there: {next} drains and removes them."))
}

/// What is said where the replacement of a join token was cut short, and the run finishes it.
fn goes_on(secrets: &Secrets) -> Option<&'static str> {
    let retired = &secrets.retired;
    if secrets.agents_had_the_server_token() {
        Some("The agents get a join token of their own, for which the servers have to restart.")
    } else if retired.agent.is_some() || retired.server.is_some() {
        Some(
            "The replacement of a join token was cut short. It is finished: the servers restart one after the other.",
        )
    } else {
        None
    }
}

/// Ends a rotation of join tokens that was under way, where this run has taken the new ones into use on every server; says what
/// is left to do.
pub(super) fn settle(world: &World, home: &StateDir, later: Option<String>) -> Result<()> {
    if let Some(next) = later.or_else(|| agents_left(&world.secrets)) {
        report::say(&next);
    }
    if !steps::rotation::is_over(&world.plan, &world.secrets) {
        return Ok(());
    }
    // Steps have written to it meanwhile.
    let Some(mut state) = State::open(home.path())? else {
        return Ok(());
    };
    state.secrets.settle();
    state.save(home.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, world};

    fn node(ready: &str) -> String {
        format!(
            r#"{{"status":{{"conditions":[{{"type":"Ready","status":"{ready}"}},{{"type":"EtcdIsVoter","status":"True"}}]}}}}"#
        )
    }

    /// The run that could bring a server up would have sealed the data with a token that no server had.
    #[tokio::test]
    async fn a_rotation_begins_only_where_every_server_is_well() {
        for (ready, begins) in [("True", true), ("False", false)] {
            let (up, third) = (
                Fake::new().says("node", &node("True")),
                Fake::new().says("node", &node(ready)),
            );
            let mut world = world(&[("k3s-cp-1", &up), ("k3s-cp-2", &up), ("k3s-cp-3", &third)]);
            let before = world.secrets.clone();
            world.secrets.renew(true).unwrap();
            let left = begin_or_leave(&mut world).await;
            assert_eq!(world.secrets == before, !begins);
            let next = left.is_some_and(|next| next.contains("rotate-token --server"));
            assert_eq!(next, !begins);
        }
    }
}
