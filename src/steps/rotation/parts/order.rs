//! The order in which new join tokens are taken into use, whichever command does it. The steps are those of `init`, which
//! go by the tokens as they are recorded; what is special is what each waits for, and what is checked in between.
//!
//! 1. No server's restart depends on its password file any more: [`k3s_password_file`]. Every server is well, and that the
//!    rotation has begun is on record: [`RotationBegun`](super::rotation_begun::RotationBegun).
//! 2. A new server token seals the cluster's data: [`ServerToken`](super::server_token::ServerToken).
//! 3. Every server's config.yaml names the new tokens: from then on a server that restarts by itself comes back.
//! 4. One server after the other restarts, accepts the new tokens and refuses the old ones:
//!    [`OldRefused`](super::old_refused::OldRefused); those that have restarted are asked again before the next one does
//!    ([`RollingRestart`]). After the first, the cluster's data hold the new agent token:
//!    [`AgentTokenSaved`](super::agent_token_saved::AgentTokenSaved).
//! 5. The agents that are there get theirs, unless they are to be replaced: [`WorkerToken`](super::worker_token::WorkerToken).

use std::path::PathBuf;

use crate::plan::{Plan, Server};
use crate::state::{RotationPhase, Secrets};
use crate::step_id::{StepId, StepName};
use crate::steps::restart::quorum::RollingRestart;
use crate::steps::rotation::agent_token_saved::AgentTokenSaved;
use crate::steps::rotation::begun::RotationBegun;
use crate::steps::rotation::old_token_refused::OldRefused;
use crate::steps::rotation::server_token::ServerToken;
use crate::steps::rotation::servers_whole::ServersWhole;
use crate::steps::rotation::worker_token::WorkerToken;
use crate::steps::support::ordered::Ordered;
use crate::steps::{AnyStep, Options};

/// What is waited for while join tokens are replaced; nothing where none is.
#[derive(Default)]
pub(crate) struct Order {
    servers: Vec<Server>,
    /// Groups of agents.
    groups: Vec<String>,
    /// The token that agents have joined by, where theirs is replaced.
    agent: Option<Before>,
    /// The servers' token is replaced.
    server: bool,
    /// It has not begun: every server must be well before anything is changed.
    whole: bool,
    /// The agents that are there are not given the new token, for others take their places.
    replace_agents: bool,
    /// The state's directory.
    state: PathBuf,
}

/// What agents have joined by until now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A token of their own.
    Own,
    /// The servers' one.
    Servers,
}

impl Order {
    /// Of the rotation that `secrets` record as under way. It begins only where every server is Ready and votes; one that has
    /// begun may be what brings a server back.
    pub(crate) fn new(plan: &Plan, secrets: &Secrets, options: &Options) -> Self {
        let retired = &secrets.retired;
        let server = retired.server.is_some();
        let agent = retired.agent.as_ref();
        let agent = agent.map(|_| {
            if secrets.agents_had_the_server_token() {
                Before::Servers
            } else {
                Before::Own
            }
        });
        Self {
            servers: plan.servers_here().cloned().collect(),
            groups: plan.workers().map(|daemon| daemon.group.clone()).collect(),
            agent,
            server,
            whole: retired.has_join_tokens() && retired.phase == RotationPhase::Recorded,
            replace_agents: retired.replace_agents,
            state: options.state.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        self.agent.is_none() && !self.server
    }

    /// What the configuration of each server waits for.
    pub(crate) fn config_needs(&self) -> Vec<StepId> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut needs = self.password_files();
        if self.whole {
            needs.push(StepName::RotationBegun.on_cluster());
        }
        if self.server {
            needs.push(StepName::ServerToken.on_cluster());
        }
        needs
    }

    fn password_files(&self) -> Vec<StepId> {
        let servers = self.servers.iter();
        servers
            .map(|server| StepName::K3sPasswordFile.on(&server.name))
            .collect()
    }

    /// Whether the agents that are there are to be drained and removed.
    pub(crate) fn replaces_agents(&self) -> bool {
        self.agent.is_some() && self.replace_agents
    }

    /// Whether join tokens are being replaced.
    pub(crate) fn is_rotation(&self) -> bool {
        !self.is_empty()
    }

    /// Whether restarts of servers were agreed to: that a token is replaced was, where it is not the first of its kind.
    pub(crate) fn may_restart(&self) -> bool {
        !self.is_empty() && !self.secrets_first()
    }

    /// The turns in which servers restart.
    pub(crate) fn turns(&self, options: &Options) -> RollingRestart {
        if self.is_empty() {
            let allowed = options.allow_outage;
            RollingRestart::of_a_run(if allowed { &options.silent } else { &[] })
        } else {
            RollingRestart::of_a_rotation()
        }
    }

    /// What the restart of this server waits for.
    pub(crate) fn start_needs(&self, server: &Server) -> Vec<StepId> {
        let place = self.servers.iter().position(|other| other == server);
        let (false, Some(place)) = (self.is_empty(), place) else {
            return Vec::new();
        };
        let servers = self.servers.iter();
        let mut needs: Vec<StepId> = servers
            .map(|server| StepName::K3sConfig.on(&server.name))
            .collect();
        // Of a rotation that goes on, a server that is down starts first, whichever it is: the others need it.
        if !self.whole {
            return needs;
        }
        if let Some(before) = place.checked_sub(1).and_then(|n| self.servers.get(n)) {
            needs.push(StepName::OldTokenRefused.on(&before.name));
            if self.agent.is_some() {
                needs.push(StepName::AgentTokenSaved.on_cluster());
            }
        }
        needs
    }

    /// What it waits for even if that fails. New agents are to find the new token where the old one is about to be refused:
    /// k3s lets the servers' token in for agents only as long as there is no other for them.
    pub(crate) fn start_after(&self) -> Vec<StepId> {
        if !self.secrets_first() {
            return Vec::new();
        }
        let groups = self.groups.iter();
        groups
            .map(|group| StepName::K3sTokenSecret.on(group))
            .collect()
    }

    /// Whether daemons get the new join token before the servers take it.
    pub(crate) fn secrets_first(&self) -> bool {
        self.agent == Some(Before::Servers)
    }

    /// What the autoscaler's chart waits for, well or not: a Helm release that is being upgraded while a server restarts may
    /// fail.
    pub(crate) fn chart_after(&self) -> Vec<StepId> {
        if self.is_empty() {
            return Vec::new();
        }
        let servers = self.servers.iter();
        servers
            .map(|server| StepName::OldTokenRefused.on(&server.name))
            .collect()
    }

    /// The steps that a rotation adds.
    pub(crate) fn steps(&self, plan: &Plan) -> Vec<AnyStep> {
        let mut steps: Vec<AnyStep> = Vec::new();
        if self.is_empty() {
            return steps;
        }
        let mut before = self.password_files();
        if self.whole {
            let whole = ServersWhole::at_first();
            steps.push(Box::new(Ordered::new(whole, &before)));
            steps.push(Box::new(RotationBegun::new(self.state.clone())));
            before = vec![StepName::RotationBegun.on_cluster()];
        }
        if self.server {
            let sealed = ServerToken::new(self.state.clone());
            steps.push(Box::new(Ordered::new(sealed, &before)));
        }
        if let (Some(_), Some(first)) = (self.agent, self.servers.first()) {
            steps.push(Box::new(AgentTokenSaved::new(first)));
        }
        for server in &self.servers {
            steps.push(Box::new(OldRefused::new(server)));
        }
        if self.agent.is_some() && !self.replaces_agents() {
            let used = self
                .servers
                .iter()
                .map(|server| StepName::OldTokenRefused.on(&server.name));
            let used: Vec<StepId> = used.collect();
            for daemon in plan.workers() {
                let mut needs = used.clone();
                needs.push(StepName::K3sTokenSecret.on(&daemon.group));
                steps.push(Box::new(WorkerToken::new(daemon, needs)));
            }
        }
        steps
    }
}
