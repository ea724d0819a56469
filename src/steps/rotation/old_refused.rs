//! A server refuses the tokens that were given up.

use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Server;
use crate::remote::{Look, Machine};
use crate::secret::Secret;
use crate::world::World;

pub(super) struct OldRefused {
    server: Server,
    needs: Vec<StepId>,
}

impl OldRefused {
    pub(super) fn new(server: &Server, needs: Vec<StepId>) -> Self {
        Self {
            server: server.clone(),
            needs,
        }
    }
}

/// Whether a server lets a joining `user` (`node` or `server`) in with this password.
pub(super) async fn accepts(server: &Machine, user: &'static str, token: &Secret) -> Result<bool> {
    let look = Look::Join {
        user,
        password: token.clone(),
    };
    let answer = server.look(&look).await?;
    match answer.stdout.trim().parse::<u16>() {
        Ok(401) => Ok(false),
        // Known, but perhaps not allowed to read this very path.
        Ok(200..=299 | 403) => Ok(true),
        _ => Err(Failure::new(
            Code::Kubernetes,
            format!("{} does not say whom it lets join", server.name()),
        )
        .because(format!("it answered {}", answer.stdout.trim()))),
    }
}

#[async_trait]
impl Step for OldRefused {
    fn id(&self) -> StepId {
        StepId::new("old-token-refused", &self.server.name)
    }

    fn title(&self) -> String {
        format!("See that {} refuses the old token", self.server.name)
    }

    fn needs(&self) -> Vec<StepId> {
        self.needs.clone()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn hint(&self) -> String {
        format!(
            "on {}: sudo systemctl restart k3s; then run again",
            self.server.name
        )
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let server = world.server(&self.server).await?;
        let secrets = &world.secrets;
        let kinds = [
            ("node", &secrets.agent_token, &secrets.retired.agent),
            ("server", &secrets.server_token, &secrets.retired.server),
        ];
        for (user, new, old) in kinds {
            let Some(old) = old else { continue };
            // Asked with both: a server that refuses everybody proves nothing.
            if !accepts(server, user, new).await? {
                return Ok(Finding::Unknown(format!("it refuses the new {user} token")));
            }
            if accepts(server, user, old).await? {
                return Ok(Finding::Unknown(format!(
                    "it still accepts the old {user} token"
                )));
            }
        }
        Ok(Finding::done())
    }

    /// The restart before has done it.
    async fn apply(&self, _: &World, _: &Hands) -> Result<()> {
        Ok(())
    }
}
