//! The cluster has taken the new server token: its bootstrap data is sealed with it, and its first server accepts it.

use async_trait::async_trait;
use serde_json::json;

use super::old_refused::accepts;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::remote::{Script, curl_option};
use crate::steps::CLUSTER;
use crate::world::World;

pub(super) struct ServerToken;

pub(super) fn id() -> StepId {
    StepId::new("server-token", CLUSTER)
}

/// What `k3s token rotate` does, without its flags: they would show both tokens in the process list.
const ROTATE: &str =
    "curl -sSk -m 60 -o /dev/null -w '%{http_code}' -K - -- https://127.0.0.1:6443/v1-k3s/token";

#[async_trait]
impl Step for ServerToken {
    fn id(&self) -> StepId {
        id()
    }

    fn title(&self) -> String {
        "Seal the cluster's data with the new server token".into()
    }

    fn hint(&self) -> String {
        "run again: both tokens are recorded until the new one is in use everywhere".into()
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let server = world.first_server().await?;
        let token = &world.secrets.server_token;
        Ok(if accepts(server, "server", token).await? {
            Finding::done()
        } else {
            Finding::differs(format!("{} does not know it", server.name()))
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let Some(old) = &world.secrets.retired.server else {
            return Ok(());
        };
        let server = world.first_server().await?;
        let new = world.secrets.server_token.expose();
        let stdin = [
            ("request", "PUT".to_owned()),
            ("user", format!("server:{}", old.expose())),
            ("header", "Content-Type: application/json".to_owned()),
            ("data", json!({ "newToken": new }).to_string()),
        ]
        .map(|(name, value)| curl_option(name, &value))
        .concat();
        let script = Script::new(ROTATE, &[]).stdin(stdin);
        let done = server.run(hands, &script).await?;
        if done.ok() && done.stdout.trim().starts_with('2') {
            return Ok(());
        }
        Err(Failure::new(
            Code::Kubernetes,
            format!("{} does not take the new server token", server.name()),
        )
        .because(format!(
            "HTTP {}: {}",
            done.stdout.trim(),
            done.last_words()
        ))
        .hint(self.hint()))
    }
}
