//! Which k3s the servers have and run, against the one that was decided: a newer one is never replaced by an older one. Pure.

use std::collections::BTreeMap;

use super::ask::Observed;
use super::refusals::listed;
use crate::failure::{Code, Failure};
use crate::k3s::{self, Release};
use crate::plan::{Plan, Server};

/// What one server has of k3s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The server.
    pub server: String,
    /// Whether it could be asked; one without a VM is known to have no k3s.
    pub seen: bool,
    /// What its next start runs.
    pub installed: Option<Release>,
    /// What runs.
    pub running: Option<Release>,
}

impl Installation {
    /// A server as it was observed.
    pub fn of(server: &Server, observed: &Observed) -> Self {
        let held = match observed {
            Observed::Answers(held) => Some(held),
            _ => None,
        };
        Self {
            server: server.name.clone(),
            seen: held.is_some() || *observed == Observed::Nothing,
            installed: held.and_then(|held| held.installed.clone()),
            running: held.and_then(|held| held.running.clone()),
        }
    }

    /// What its next restart changes, where another k3s is installed than the one that runs: (installed, running).
    pub fn pending(&self) -> Option<(&Release, &Release)> {
        let both = self.installed.as_ref().zip(self.running.as_ref());
        both.filter(|(installed, running)| installed != running)
    }

    fn newest(&self) -> Option<&Release> {
        self.installed.as_ref().max(self.running.as_ref())
    }

    fn state(&self) -> String {
        let name = &self.server;
        match (&self.installed, &self.running) {
            _ if !self.seen => format!("{name} does not answer"),
            (Some(installed), Some(running)) if installed != running => {
                format!("{name} has {installed} installed and runs {running}")
            }
            (Some(installed), _) => format!("{name} has {installed}"),
            (None, Some(running)) => format!("{name} runs {running}"),
            (None, None) => format!("{name} has none"),
        }
    }
}

/// All servers were upgraded: what they have takes the place of what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// What was decided.
    pub from: String,
    /// What they have.
    pub to: Release,
    /// Servers that could not be asked.
    pub unseen: Vec<String>,
}

impl Upgrade {
    /// Why the plan has this version.
    pub fn why(&self) -> String {
        let why = format!("the servers were upgraded; it was {}", self.from);
        if self.unseen.is_empty() {
            return why;
        }
        let unseen = listed(self.unseen.iter().cloned());
        format!("{why} ({unseen} did not answer, and gets it later)")
    }
}

/// What follows from the servers' versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The version that is taken over, where all have a newer one.
    pub upgrade: Option<Upgrade>,
    /// Every server.
    pub servers: Vec<Installation>,
}

impl Versions {
    /// What a person should know: (server, what).
    pub fn remarks(&self) -> Vec<(String, String)> {
        let servers = self.servers.iter().filter_map(|server| {
            let (installed, running) = server.pending().filter(|(new, old)| new > old)?;
            Some((server.server.clone(), waits(installed, running)))
        });
        servers.collect()
    }
}

/// A newer program under an older process.
pub fn waits(installed: &Release, running: &Release) -> String {
    format!(
        "k3s {installed} is installed, and {running} still runs: it takes effect at the next restart"
    )
}

/// Every server's k3s by its stamp, so that nobody need start it again to know its version.
pub fn programs(seen: &[(Server, Observed)]) -> BTreeMap<String, (String, String)> {
    let programs = seen.iter().filter_map(|(server, observed)| {
        let Observed::Answers(held) = observed else {
            return None;
        };
        let (stamp, installed) = (held.stamp.clone()?, held.installed.as_ref()?);
        Some((server.name.clone(), (stamp, installed.to_string())))
    });
    programs.collect()
}

/// Judges the versions that were seen of a plan's servers.
pub fn judge_versions(plan: &Plan, seen: &[(Server, Observed)]) -> Result<Versions, Failure> {
    let servers = seen
        .iter()
        .map(|(server, observed)| Installation::of(server, observed));
    let servers: Vec<Installation> = servers.collect();
    match upgrade(&plan.k3s.version, &servers) {
        Ok(upgrade) => Ok(Versions { upgrade, servers }),
        Err(newest) => Err(refused(plan, &servers, &newest)),
    }
}

/// The upgrade that was made of what was decided, if any; the newest release of all where the servers have not one, or too
/// few of them can be asked.
pub fn upgrade(decided: &str, servers: &[Installation]) -> Result<Option<Upgrade>, Release> {
    let newest = servers.iter().filter_map(Installation::newest).max();
    // What has no place in the order is older than nothing: the step that installs refuses.
    let Some((newest, before)) = newest.zip(Release::parse(decided)) else {
        return Ok(None);
    };
    if *newest <= before {
        return Ok(None);
    }
    let unseen = servers.iter().filter(|server| !server.seen);
    let unseen: Vec<String> = unseen.map(|server| server.server.clone()).collect();
    let differs = |server: &Installation| {
        let installed = server.installed.as_ref();
        installed.is_some_and(|installed| installed != newest)
    };
    let nowhere = servers.iter().all(|server| server.installed.is_none());
    if nowhere || servers.iter().any(differs) || unseen.len() * 2 >= servers.len() {
        return Err(newest.clone());
    }
    Ok(Some(Upgrade {
        from: decided.to_owned(),
        to: newest.clone(),
        unseen,
    }))
}

fn refused(plan: &Plan, servers: &[Installation], newest: &Release) -> Failure {
    let states = servers.iter().map(Installation::state);
    let commands: Vec<String> = servers
        .iter()
        .filter(|server| server.installed.as_ref() != Some(newest))
        .filter_map(|server| {
            let from = server.newest()?;
            let behind_proxy = !plan.k3s.environment.is_empty();
            Some(k3s::upgrade(&server.server, from, newest, behind_proxy))
        })
        .flatten()
        .collect();
    let unseen = servers.iter().filter(|server| !server.seen);
    let unseen: Vec<String> = unseen.map(|server| server.server.clone()).collect();
    let mut hint = Vec::new();
    let what = if commands.is_empty() {
        "it is not known whether all servers were upgraded"
    } else {
        "the servers have different versions of k3s"
    };
    if unseen.len() * 2 >= servers.len() {
        hint.push(format!(
            "bring {} up, then run again: a version is taken over where more than half of the servers can be asked",
            listed(unseen.into_iter())
        ));
    }
    if !commands.is_empty() {
        hint.push(format!(
            "bring every server to {newest}; one after the other, as each of these restarts k3s:"
        ));
        hint.extend(commands);
        hint.push("slicer-k3s init".to_owned());
    }
    Failure::new(Code::K3sVersionsDiffer, what)
        .because(format!(
            "{}; {} was decided, and nothing newer is replaced by it",
            listed(states),
            plan.k3s.version
        ))
        .hint(hint.join("\n"))
}

#[cfg(test)]
mod tests;
