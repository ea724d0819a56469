//! The files of hosts and servers, each with its place and mode: what `init` puts there and `generate` writes here.

use super::own_addresses::own_addresses_rules;
use super::{
    ROUTES_SCRIPT, ROUTES_UNIT, host_yaml, own_addresses_path, route_table, routes, routes_path,
    routes_script, routes_unit, server_paths, unit, unit_path,
};
use crate::failure::{Code, Failure, Result};
use crate::k3s;
use crate::plan::{Daemon, Mark, Plan, Server};
use crate::state::Secrets;

/// A file on a machine that is ours whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Octal mode, such as "0600".
    pub mode: &'static str,
    /// Content.
    pub content: String,
    /// Whether its content must not be shown.
    pub secret: bool,
}

impl File {
    fn open(path: impl Into<String>, mode: &'static str, content: String) -> Self {
        Self {
            path: path.into(),
            mode,
            content,
            secret: false,
        }
    }
}

/// The host YAML of a daemon, in the daemon's directory.
pub fn daemon_config(plan: &Plan, daemon: &Daemon, cluster_key: &str) -> Result<File> {
    Ok(File::open(
        format!("{}/{}.yaml", plan.directory(daemon), daemon.carrier()),
        "0600",
        host_yaml(plan, daemon, cluster_key)?,
    ))
}

/// The unit of a daemon, unless a person wrote one.
pub fn daemon_unit(plan: &Plan, daemon: &Daemon, cluster_key: &str) -> Result<Option<File>> {
    if daemon
        .adopted
        .as_ref()
        .is_some_and(|own| own.unit.is_some())
    {
        return Ok(None);
    }
    let path = unit_path(&daemon.unit());
    let text = unit(plan, daemon, cluster_key)?;
    Ok(Some(File::open(path, "0644", text)))
}

/// Where that setting lies which lets a host forward packets.
pub const FORWARDING_PATH: &str = "/etc/sysctl.d/90-slicer-k3s.conf";

/// The setting by which a host forwards packets after a reboot, too.
pub fn forwarding() -> File {
    File::open(
        FORWARDING_PATH,
        "0644",
        "# Written by slicer-k3s: VMs reach other hosts through this one.\nnet.ipv4.ip_forward = 1\n"
            .to_owned(),
    )
}

/// The decisions about a host, without secrets, so that another workstation plans the same.
pub fn host_mark(plan: &Plan, host: &str) -> Result<File> {
    let text = serde_json::to_string_pretty(&plan.mark(host)).map_err(|error| {
        Failure::new(Code::LocalFile, "cannot write a host's mark").because(error)
    })?;
    Ok(File::open(
        Mark::path(&plan.cluster),
        "0644",
        format!("{text}\n"),
    ))
}

/// What keeps a host's routes: the script, this cluster's table, the unit.
pub fn host_routes(plan: &Plan, host: &str) -> Result<[File; 3]> {
    Ok([
        File::open(ROUTES_SCRIPT, "0755", routes_script()?),
        File::open(
            routes_path(&plan.cluster),
            "0644",
            route_table(&routes(plan, host)),
        ),
        File::open(unit_path(ROUTES_UNIT), "0644", routes_unit()?),
    ])
}

/// The table by which a host's servers keep their addresses on the way to others; none where no server is elsewhere.
pub fn own_addresses(plan: &Plan, host: &str) -> Result<Option<File>> {
    let ways = server_paths(plan, host);
    if ways.is_empty() {
        return Ok(None);
    }
    Ok(Some(File::open(
        own_addresses_path(&plan.cluster),
        "0644",
        own_addresses_rules(&plan.cluster, &ways)?,
    )))
}

/// Everything that lies on a host.
pub fn host_files(plan: &Plan, host: &str, cluster_key: &str) -> Result<Vec<File>> {
    let mut files = vec![forwarding(), host_mark(plan, host)?];
    files.extend(host_routes(plan, host)?);
    files.extend(own_addresses(plan, host)?);
    let daemons = plan.daemons_of(host);
    for daemon in daemons.filter(|daemon| daemon.shares.is_none()) {
        if daemon.adopted.is_none() {
            files.push(daemon_config(plan, daemon, cluster_key)?);
        }
        files.extend(daemon_unit(plan, daemon, cluster_key)?);
    }
    Ok(files)
}

/// Everything that lies on a server.
pub fn server_files(plan: &Plan, server: &Server, secrets: &Secrets) -> Result<Vec<File>> {
    let mut files = vec![password_drop_in()];
    let join = k3s::joins(plan, server);
    files.extend(server_files_joining(plan, server, join, secrets)?);
    Ok(files)
}

/// The drop-in by which no start of k3s fails because of its password file.
pub fn password_drop_in() -> File {
    let content = k3s::PASSWORD_DROP_IN.to_owned();
    File::open(k3s::PASSWORD_DROP_IN_PATH, "0644", content)
}

/// The k3s configuration of a server that is to join this one if it has no data, or to found the cluster; the unit's
/// drop-in that says which configuration the process has read, and what the user asks for besides.
pub fn server_files_joining(
    plan: &Plan,
    server: &Server,
    join: Option<&Server>,
    secrets: &Secrets,
) -> Result<Vec<File>> {
    let readings = k3s::readings(plan, server, secrets)?;
    let reading = readings.first().map(String::as_str).unwrap_or_default();
    let private = |path: &str, content: String| File {
        path: path.to_owned(),
        mode: "0600",
        content,
        secret: true,
    };
    let config = k3s::config(plan, server, join, secrets)?;
    let mut files = vec![
        // First, so that no process claims to have read what was written after it started.
        private(k3s::CONFIG_PATH, config),
        File::open(k3s::DROP_IN_PATH, "0644", k3s::drop_in(reading)),
    ];
    // Both may hold a password.
    let more = [
        (k3s::REGISTRIES_PATH, k3s::registries(plan)?),
        (k3s::ENVIRONMENT_PATH, k3s::environment(plan)),
    ];
    for (path, content) in more {
        files.extend(content.map(|content| private(path, content)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, secrets};

    #[test]
    fn the_mark_holds_this_hosts_decisions_and_no_secret() {
        let mark = host_mark(&plan(), "ryzen").unwrap();
        assert_eq!(mark.path, "/etc/slicer-k3s/home.json");
        assert!(mark.content.contains("k3s-agents-1") && !mark.content.contains("k3s-agents-2"));
    }

    /// Whoever shows a file goes by its `secret`.
    #[test]
    fn files_with_secrets_are_private_and_say_so() {
        let plan = plan();
        let mut files = host_files(&plan, "n100", &secrets().ssh_public_key).unwrap();
        for server in &plan.servers {
            files.extend(server_files(&plan, server, &secrets()).unwrap());
        }
        for file in files {
            let holds = ["5e7ve7", "a9e47", "PRIVATE"]
                .iter()
                .any(|secret| file.content.contains(secret));
            assert_eq!(holds, file.secret, "{}", file.path);
            assert!(!holds || file.mode == "0600", "{}", file.path);
        }
    }
}
