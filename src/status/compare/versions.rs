//! Versions of k3s: what servers have against what was decided, and agents against servers.

use super::{INIT, add, restart};
use crate::control_plane::{Installation, waits};
use crate::k3s;
use crate::k3s::Release;
use crate::names::k3s::UNIT;
use crate::plan::{Plan, Server};
use crate::status::document::{ALLOWED_SKEW, Drift, Node, Skew};
use crate::status::gather::Observed;

/// The control plane as a whole: it was upgraded, or its servers differ.
pub(super) fn upgraded(plan: &Plan, seen: &Observed, drift: &mut Vec<Drift>) {
    match &seen.versions {
        Ok(versions) => {
            let Some(upgrade) = &versions.upgrade else {
                return;
            };
            let what = format!(
                "the servers have k3s {}, and {} was decided",
                upgrade.to, plan.k3s.version
            );
            // Where cluster.toml asks for another version, that is told, and what to write there.
            let mend = match &seen.planned {
                Ok(_) => format!("{INIT} takes it over; nothing restarts"),
                Err(_) => format!("{INIT}, once cluster.toml agrees with the servers"),
            };
            add(drift, "k3s-version", "cluster", what, mend);
        }
        // A cluster that cannot be judged has other needs first.
        Err(failure) if seen.control_plane.is_ok() => {
            let mend = failure.next().unwrap_or(INIT);
            let kind = failure.code.name();
            add(drift, kind, "cluster", failure.to_string(), mend);
        }
        Err(_) => {}
    }
}

/// One server that is up: whether it runs what was decided, and will after its next restart.
pub(super) fn of_server(
    plan: &Plan,
    seen: &Observed,
    server: &Server,
    node: Option<&Node>,
    drift: &mut Vec<Drift>,
) {
    let name = &server.name;
    // Where servers differ, it is said of all of them what to do.
    let Ok(versions) = &seen.versions else {
        return;
    };
    let own = versions.servers.iter().find(|own| own.server == *name);
    let mut tell = |what: String, mend: String| add(drift, "k3s-version", name, what, mend);
    match own.and_then(Installation::pending) {
        Some((installed, running)) if installed > running => {
            return tell(waits(installed, running), restart(name, UNIT));
        }
        Some((installed, running)) => {
            let what = format!(
                "k3s {installed} is installed, and its next restart puts it in the place of {running}, which runs"
            );
            return tell(what, INIT.to_owned());
        }
        None => {}
    }
    let decided = match &versions.upgrade {
        Some(upgrade) => upgrade.to.to_string(),
        None => plan.k3s.version.clone(),
    };
    let Some(runs) = node.and_then(|node| node.version.as_deref()) else {
        return;
    };
    if runs != decided {
        let newer = Release::parse(runs) > Release::parse(&decided);
        let mend = if newer {
            // It did not answer itself, or its version would have been judged.
            format!("slicer-k3s exec {name} -- k3s --version")
        } else {
            INIT.to_owned()
        };
        tell(
            format!("it runs k3s {runs}, and {decided} was decided"),
            mend,
        );
    }
}

/// Agents against servers: what Kubernetes does not support is added to `drift`.
pub(super) fn skew(plan: &Plan, seen: &Observed, nodes: &[Node], drift: &mut Vec<Drift>) -> Skew {
    let of = |node: &Node| Release::parse(node.version.as_deref()?);
    let versions = |servers: bool| {
        let nodes = nodes
            .iter()
            .filter(move |node| (node.role == "server") == servers);
        let versions = nodes.filter_map(|node| Some((of(node)?, node.name.as_str())));
        versions.collect::<Vec<_>>()
    };
    let (servers, agents) = (versions(true), versions(false));
    let (oldest, newest) = (agents.iter().min(), agents.iter().max());
    if let (Some(server), Some((agent, _))) = (servers.iter().min(), newest) {
        newer(plan, seen, server, agent, &agents, drift);
    }
    let most = servers.iter().max();
    let left =
        |agent: &Release| most.map(|(server, _)| ALLOWED_SKEW - server.minors_ahead_of(agent));
    for (agent, name) in &agents {
        if let (Some(left), Some((server, on))) = (left(agent), most)
            && left < 0
        {
            let what = format!(
                "it runs k3s {agent}, {} minor versions older than server {on} ({server}); Kubernetes supports {ALLOWED_SKEW}",
                ALLOWED_SKEW - left
            );
            let mend = format!(
                "slicer-k3s kubectl drain {name} --ignore-daemonsets --delete-emptydir-data; the autoscaler then removes its \
                 VM, and a new one installs a current k3s"
            );
            add(drift, "agent-older", name, what, mend);
        }
    }
    let text = |version: Option<&(Release, &str)>| version.map(|(version, _)| version.to_string());
    Skew {
        oldest_agent: text(oldest),
        newest_agent: text(newest),
        minors_left: oldest.and_then(|(agent, _)| left(agent)),
        behind: oldest
            .zip(most)
            .is_some_and(|((agent, _), (server, _))| agent.kubernetes() < server.kubernetes()),
    }
}

/// Agents that are newer than a server: they install what the stable channel says at their first boot.
fn newer(
    plan: &Plan,
    seen: &Observed,
    (server, on): &(Release, &str),
    newest: &Release,
    agents: &[(Release, &str)],
    drift: &mut Vec<Drift>,
) {
    let is_newer = |agent: &Release| agent.kubernetes() > server.kubernetes();
    let ahead: Vec<&str> = agents
        .iter()
        .filter(|(agent, _)| is_newer(agent))
        .map(|(_, name)| *name)
        .collect();
    let who = match ahead.as_slice() {
        [] => return,
        [one] => format!("agent {one} runs k3s {newest}"),
        [one, rest @ ..] => format!("agent {one} and {} more run k3s up to {newest}", rest.len()),
    };
    let what = format!(
        "{who}, newer than server {on} ({server}); Kubernetes supports no kubelet that is newer than an API server"
    );
    let mut mend =
        vec!["upgrade the servers, one after the other; each of these restarts k3s:".to_owned()];
    mend.extend(
        plan.servers
            .iter()
            .flat_map(|server| to(plan, seen, server, newest)),
    );
    mend.push(INIT.to_owned());
    add(drift, "agent-newer", "cluster", what, mend.join("\n"));
}

/// What brings one server to a release; nothing where it runs it.
fn to(plan: &Plan, seen: &Observed, server: &Server, release: &Release) -> Vec<String> {
    let versions = seen.versions.as_ref().ok();
    let own = versions.and_then(|versions| {
        versions
            .servers
            .iter()
            .find(|own| own.server == server.name)
    });
    let own = own.map(|own| (own.installed.clone(), own.running.clone()));
    let (installed, running) = own.unwrap_or_default();
    if running.as_ref().is_some_and(|running| running >= release) {
        return Vec::new();
    }
    match installed
        .max(running)
        .or_else(|| Release::parse(&plan.k3s.version))
    {
        Some(installed) if installed >= *release => vec![restart(&server.name, UNIT)],
        Some(from) => {
            let behind_proxy = !plan.k3s.environment.is_empty();
            k3s::upgrade(&server.name, &from, release, behind_proxy)
        }
        None => Vec::new(),
    }
}
