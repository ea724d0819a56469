//! A server refuses the tokens that were given up.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Meta, Phase, Step};
use crate::plan::Server;
use crate::remote::{Machine, Probe};
use crate::secret::Secret;
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct OldRefused {
    server: Server,
}

impl OldRefused {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

/// Whether a server lets a joining `user` (`node` or `server`) in with this password.
///
/// Source: k3s pkg/server/auth/auth.go, `doAuth`: 401 for a wrong password, 403 for a user that may not read this path, as
/// `server` may not read what is the agents', and also for no credentials at all.
pub(crate) async fn accepts(server: &Machine, user: &'static str, token: &Secret) -> Result<bool> {
    let probe = Probe::Join {
        user,
        password: token.clone(),
    };
    let answer = server.probe(&probe).await?;
    match answer.stdout.trim().parse::<u16>() {
        Ok(401) => Ok(false),
        Ok(200..=299) => Ok(true),
        Ok(403) if user == "server" => Ok(true),
        _ => Err(Failure::new(
            Code::Kubernetes,
            format!("{} does not say whom it lets join", server.name()),
        )
        .because(format!("it answered {}", answer.stdout.trim()))),
    }
}

/// Why a server does not yet go by the new tokens alone, where it does not.
pub(crate) async fn lacks(world: &World, server: &Server) -> Result<Option<String>> {
    let server = world.server(server).await?;
    let secrets = &world.secrets;
    let kinds = [
        ("node", &secrets.agent_token, &secrets.retired.agent),
        ("server", &secrets.server_token, &secrets.retired.server),
    ];
    for (user, new, old) in kinds {
        let Some(old) = old else { continue };
        // Asked with both: a server that refuses everybody proves nothing.
        if !accepts(server, user, new).await? {
            return Ok(Some(format!("it refuses the new {user} token")));
        }
        if accepts(server, user, old).await? {
            return Ok(Some(format!("it still accepts the old {user} token")));
        }
    }
    Ok(None)
}

#[async_trait]
impl Step<World> for OldRefused {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::OldTokenRefused.on(&self.server.name),
            format!("See that {} refuses the old token", self.server.name),
            format!(
                "on {}: sudo systemctl restart k3s; then run again",
                self.server.name
            ),
        )
        .needs([StepName::K3sStarted.on(&self.server.name)])
        .timeout(Duration::from_secs(30))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let lacks = lacks(world, &self.server).await?;
        Ok(lacks.map_or_else(Finding::done, Finding::Unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, machine};

    /// 403 is also the answer to no credentials at all, which says nothing of an agent's token.
    #[tokio::test]
    async fn a_forbidden_agent_was_not_let_in() {
        let token = Secret::new("t0ken-of-somebody");
        for (user, status, wanted) in [
            ("server", "403", Some(true)),
            ("server", "401", Some(false)),
            ("node", "200", Some(true)),
            ("node", "401", Some(false)),
            ("node", "403", None),
            ("node", "000", None),
        ] {
            let server = machine("k3s-cp-1", Fake::new().says("/v1-k3s/config", status));
            let found = accepts(&server, user, &token).await.ok();
            assert_eq!(found, wanted, "{user} {status}");
        }
    }
}
