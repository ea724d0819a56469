//! What the servers' own configuration tells: the tokens, and which server came first.

use serde_json::{Map, Value};

use super::Findings;
use crate::failure::{Code, Failure, Result};
use crate::k3s::{self, api_url};
use crate::plan::Server;
use crate::secret::Secret;
use crate::slicer::ServerFacts;
use crate::state::Retired;

/// What was read.
pub(super) struct Known {
    pub(super) server_token: Secret,
    /// None where agents join by the servers' token.
    pub(super) agent_token: Option<Secret>,
    /// Tokens that other servers still have: a rotation did not end.
    pub(super) retired: Retired,
    /// The servers, the first one first.
    pub(super) servers: Vec<Server>,
}

/// What a server was told: its config.yaml, its unit's words, and the tokens that it keeps where neither says them; nothing
/// where it is no server.
pub(super) fn config(facts: &ServerFacts) -> Value {
    let text = facts.config.expose();
    let mut config: Map<String, Value> = serde_saphyr::from_str(text).unwrap_or_default();
    // k3s's own order: the command line wins.
    config.extend(k3s::as_config(&facts.arguments));
    let password = k3s::password;
    let (server, agent) = (
        password(facts.token.expose()),
        password(facts.agent_token.expose()),
    );
    if !server.is_empty() && !config.contains_key("token") {
        if !agent.is_empty() && agent != server {
            config.insert("agent-token".into(), agent.into());
        }
        config.insert("token".into(), server.into());
    }
    if config.is_empty() {
        return Value::Null;
    }
    Value::Object(config)
}

/// The first server: the one that founds, else the one that most of the others join (it joins one itself, as soon as a
/// second one votes), and of two that join each other the one whose name comes first.
fn first<'s>(configs: &[(&str, Value)], servers: &'s [Server]) -> Option<&'s Server> {
    let founds = configs
        .iter()
        .find(|(_, config)| config["cluster-init"] == true);
    if let Some((name, _)) = founds {
        return servers.iter().find(|server| server.name == *name);
    }
    let joined = |server: &&Server| {
        let url = api_url(server);
        let joins = configs
            .iter()
            .filter(|(_, config)| config["server"].as_str() == Some(&url));
        joins.count()
    };
    let candidates = servers.iter().filter(|server| joined(server) > 0);
    candidates.max_by(|a, b| joined(a).cmp(&joined(b)).then(b.name.cmp(&a.name)))
}

/// Of tokens that were found, the first of all first: the one that is in use or about to be, and another one that may still be
/// in use where a rotation did not end. The last run has noted the hash of the one that it was to bring into use.
fn current(tokens: &[Secret], noted: Option<&str>) -> Option<(Secret, Option<Secret>)> {
    let named = |token: &&Secret| noted == Some(&token.sha256());
    let token = tokens.iter().find(named).or(tokens.first())?;
    let other = tokens.iter().find(|other| *other != token);
    Some((token.clone(), other.cloned()))
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
    let first = first(&configs, &servers)
        .ok_or_else(|| lost("the host of its first server was not named"))?
        .clone();
    servers.sort_by_key(|server| {
        let number = server.name.rsplit('-').next();
        let number = number.and_then(|number| number.parse::<u32>().ok());
        (*server != first, server.group.clone(), number)
    });
    let named = configs.iter().find(|(name, _)| *name == first.name);
    let config = named.map_or(some, |(_, config)| config);
    // The first server's configuration, the others', and what k3s itself keeps, which a rotation changes before the files.
    let all = |key: &str, kept: fn(&ServerFacts) -> &Secret| {
        let files = configs.iter().map(|(_, config)| &config[key]);
        let files = std::iter::once(&config[key]).chain(files);
        let kept = findings
            .servers
            .iter()
            .map(|(_, facts)| kept(facts).expose());
        // A full token and its password alone are the same to k3s.
        let all = files
            .filter_map(Value::as_str)
            .chain(kept)
            .map(k3s::password);
        let all = all.filter(|token| !token.is_empty()).map(Secret::new);
        all.collect::<Vec<Secret>>()
    };
    let noted = findings.noted.as_ref();
    let noted_server = noted.map(|noted| noted.server_token.as_str());
    let tokens = all("token", |facts| &facts.token);
    let Some((server_token, old_server)) = current(&tokens, noted_server) else {
        return Err(lost("its servers' configuration holds no token"));
    };
    let (agent_token, old_agent) = if config["agent-token"].is_string() {
        let noted = noted.map(|noted| noted.agent_token.as_str());
        current(&all("agent-token", |facts| &facts.agent_token), noted).unzip()
    } else {
        (None, None)
    };
    // Agents that join by the servers' token get one of their own, and that is a rotation.
    let old_agent = match &agent_token {
        Some(_) => old_agent.flatten(),
        None => Some(server_token.clone()),
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
