//! What the servers' own configuration tells: the tokens, and which server came first.

use serde_json::Value;

use super::Findings;
use super::tokens::{self, Doubt, Shown};
use crate::escape::escape;
use crate::failure::{Code, Failure, Result};
use crate::k3s::{self, CONFIG_PATH, DROP_INS_PATH, api_url};
use crate::plan::Server;
use crate::secret::Secret;
use crate::slicer::{Process, ServerFacts};
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
    let files = facts.drop_ins.iter().map(|file| file.text.expose());
    let mut config = k3s::merged([facts.config.expose()].into_iter().chain(files));
    k3s::with_arguments(&mut config, k3s::as_config(&facts.arguments));
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

/// A file of settings that cannot be read as one: what it says would be lost.
fn unreadable(findings: &Findings) -> Option<Failure> {
    findings.servers.iter().find_map(|(name, facts)| {
        let drop_ins = facts.drop_ins.iter();
        let mut files = drop_ins
            .map(|file| (format!("{DROP_INS_PATH}/{}", file.name), &file.text))
            .chain([(CONFIG_PATH.to_owned(), &facts.config)]);
        let (path, _) = files.find(|(_, text)| k3s::table(text.expose()).is_none())?;
        let failure = Failure::new(
            Code::PlanConflict,
            format!("{path} on {name} cannot be taken over"),
        );
        // What the parser says may quote a token.
        Some(failure.because("it is not YAML, or no table").hint(format!(
            "on {name}: correct {path}, or remove it; then run again"
        )))
    })
}

/// Reads them.
pub(super) fn read(findings: &Findings) -> Result<Known> {
    if let Some(failure) = unreadable(findings) {
        return Err(failure);
    }
    let configs: Vec<(&str, Value)> = findings
        .servers
        .iter()
        .map(|(name, facts)| (name.as_str(), config(facts)))
        .filter(|(_, config)| config["token"].is_string())
        .collect();
    let lost = |why: &str| {
        Failure::new(
            Code::Import,
            format!("{} tells its tokens to nobody", findings.cluster),
        )
        .because(why.to_owned())
        .hint("start the daemons of the hosts that run its servers, then run again")
    };
    if configs.is_empty() {
        return Err(lost(&format!("no server has {CONFIG_PATH}")));
    }
    let mut servers: Vec<Server> = findings.marked_servers().cloned().collect();
    let first = first(&configs, &servers)
        .ok_or_else(|| lost("the host of its first server was not named"))?
        .clone();
    servers.sort_by_key(|server| {
        let number = server.name.rsplit('-').next();
        let number = number.and_then(|number| number.parse::<u32>().ok());
        (*server != first, server.group.clone(), number)
    });
    let noted = findings.noted.as_ref();
    let whole = findings.unseen().is_empty();
    let shown = shown(findings, &first);
    let hash = noted.map(|noted| noted.server_token.as_str());
    let server = tokens::choose(&shown, hash, whole)
        .map_err(|doubt| refusal(findings, doubt, "server token", "token"))?
        .ok_or_else(|| lost("its servers' configuration holds no token"))?;
    let (agents, by_the_servers) = agents(findings, &first, &shown);
    let hash = noted.map(|noted| noted.agent_token.as_str());
    let agent = tokens::choose(&agents, hash, whole)
        .map_err(|doubt| refusal(findings, doubt, "agent token", "agent-token"))?;
    let (agent_token, old_agent) = match agent {
        // Agents that join by the servers' token, if only at one server yet, get one of their own, and that is a rotation.
        Some(chosen) if !by_the_servers => (Some(chosen.token), chosen.before),
        chosen => {
            let token = chosen.map(|chosen| chosen.token);
            (token, Some(server.token.clone()))
        }
    };
    Ok(Known {
        server_token: server.token,
        agent_token,
        retired: Retired {
            server: server.before,
            agent: old_agent,
            ..Retired::default()
        },
        servers,
    })
}

/// A token as k3s compares it: a full one and its password alone are the same.
fn secret(token: &str) -> Option<Secret> {
    let password = k3s::password(token);
    (!password.is_empty()).then(|| Secret::new(password))
}

/// What the servers were told and keep, the first server first.
fn facts<'f>(findings: &'f Findings, first: &Server) -> Vec<&'f ServerFacts> {
    let mut servers: Vec<_> = findings.servers.iter().collect();
    servers.sort_by_key(|(name, _)| *name != first.name);
    servers.into_iter().map(|(_, facts)| facts).collect()
}

/// What they show of the servers' token.
fn shown(findings: &Findings, first: &Server) -> Vec<Shown> {
    let servers = facts(findings, first).into_iter();
    let shown = servers.map(|facts| Shown {
        configured: config(facts)["token"].as_str().and_then(secret),
        kept: secret(facts.token.expose()),
        process: facts.process,
    });
    shown.collect()
}

/// What they show of a token of the agents' own, and whether there is a server at which agents join by the servers' one.
/// k3s keeps that as the agents', too, where it was told of no other.
fn agents(findings: &Findings, first: &Server, servers: &[Shown]) -> (Vec<Shown>, bool) {
    let servers: Vec<&Secret> = servers
        .iter()
        .flat_map(|shown| [&shown.configured, &shown.kept])
        .flatten()
        .collect();
    let own = |token: &str| secret(token).filter(|token| !servers.contains(&token));
    let mut without = false;
    let agents = facts(findings, first).into_iter().map(|facts| {
        let config = config(facts);
        let shown = Shown {
            configured: config["agent-token"].as_str().and_then(own),
            kept: own(facts.agent_token.expose()),
            // Only a start writes down what it keeps, so a configuration that differs is newer.
            process: Process::Accepts,
        };
        let configured = config["token"].is_string();
        without |= configured && shown.configured.is_none() && shown.kept.is_none();
        shown
    });
    let agents = agents.collect();
    (agents, without)
}

/// Why no token is taken over.
fn refusal(findings: &Findings, doubt: Doubt, which: &str, key: &str) -> Failure {
    match doubt {
        Doubt::NotedElsewhere => {
            let who = findings.noted.as_ref().map_or("", |noted| &noted.who);
            let who = escape(who);
            Failure::new(
                Code::Import,
                format!("the new {which} of {} was not found", findings.cluster),
            )
            .because(format!(
                "{who} ran the last command and noted a token that none of these servers has; not seen: {}",
                findings.unseen().join(", ")
            ))
            .hint(format!(
                "start these servers and name their hosts as well, then run again; or go on from {who}, where the token is on record"
            ))
        }
        Doubt::Several => Failure::new(
            Code::Import,
            format!(
                "{} has several {which}s, and nothing says which one is the new one",
                findings.cluster
            ),
        )
        .because("a rotation did not end, and the hosts have no note of it that names one of them")
        .hint(format!(
            "go on from the workstation where it was begun: slicer-k3s status; or put the one that is in use as `{key}` into \
             {CONFIG_PATH} of every server, start k3s where it is down, and run again"
        )),
    }
}
