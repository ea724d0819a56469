//! What the servers' own configuration tells: the tokens, and which server came first.

use serde_json::Value;

use super::Findings;
use crate::failure::{Code, Failure, Result};
use crate::k3s::api_url;
use crate::plan::Server;
use crate::secret::Secret;
use crate::state::Retired;

/// What was read.
pub(super) struct Known {
    pub(super) server_token: Secret,
    pub(super) agent_token: Secret,
    /// Tokens that other servers still have: a rotation did not end.
    pub(super) retired: Retired,
    /// The servers, the first one first.
    pub(super) servers: Vec<Server>,
}

/// A server's config.yaml; nothing where it is none.
pub(super) fn config(facts: &crate::slicer::ServerFacts) -> Value {
    serde_saphyr::from_str(facts.config.expose()).unwrap_or_default()
}

/// Reads them.
pub(super) fn read(findings: &Findings) -> Result<Known> {
    let configs: Vec<(&str, Value)> = findings
        .servers
        .iter()
        .map(|(name, facts)| (name.as_str(), config(facts)))
        .filter(|(_, config)| config["token"].is_string())
        .collect();
    let lost = |why: &str| {
        Failure::new(
            Code::PlanConflict,
            format!("{} tells its tokens to nobody", findings.cluster),
        )
        .because(why.to_owned())
        .hint("start the daemons of the hosts that run its servers, then run again")
    };
    let Some((_, some)) = configs.first() else {
        return Err(lost("no server has /etc/rancher/k3s/config.yaml"));
    };
    let mut servers: Vec<Server> = findings.marked_servers().cloned().collect();
    let first = configs
        .iter()
        .find(|(_, config)| config["cluster-init"] == true)
        .and_then(|(name, _)| servers.iter().find(|server| server.name == *name))
        .or_else(|| {
            let mut servers = servers.iter();
            servers.find(|server| some["server"].as_str() == Some(&api_url(server)))
        })
        .ok_or_else(|| lost("the host of its first server was not named"))?
        .clone();
    servers.sort_by_key(|server| {
        let number = server.name.rsplit('-').next();
        let number = number.and_then(|number| number.parse::<u32>().ok());
        (*server != first, server.group.clone(), number)
    });
    let tokens = |key: &str| {
        let named = configs.iter().find(|(name, _)| *name == first.name);
        let config = named.map_or(some, |(_, config)| config);
        let token = config[key].as_str()?;
        let others = configs
            .iter()
            .filter_map(|(_, config)| config[key].as_str());
        let other = others.into_iter().find(|other| *other != token);
        Some((Secret::new(token), other.map(Secret::new)))
    };
    let (Some((server_token, old_server)), Some((agent_token, old_agent))) =
        (tokens("token"), tokens("agent-token"))
    else {
        return Err(lost("its servers' configuration holds no agent token"));
    };
    Ok(Known {
        server_token,
        agent_token,
        retired: Retired {
            server: old_server,
            agent: old_agent,
            ..Retired::default()
        },
        servers,
    })
}
