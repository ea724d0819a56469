//! What steps work with: the plan, and connections that are made when first asked for and kept.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OnceCell;

use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::plan::{Daemon, Plan, Server};
use crate::remote::Machine;
use crate::remote::Sudo;
use crate::remote::ssh::{self, VmTarget};
use crate::secret::Secret;
use crate::slicer::Slicer;
use crate::state::Secrets;

/// Where Slicer keeps its API token on a host.
///
/// Source: docs of Slicer's REST API; older versions used the other two paths.
pub const TOKEN_PATHS: [&str; 3] = [
    "/var/lib/slicer/auth/token",
    "/var/lib/slicer/token",
    "/var/slicer/auth/token",
];

/// The user of Slicer's Ubuntu images; has sudo without a password.
pub const VM_USER: &str = "ubuntu";

/// The world of one run.
pub struct World {
    /// Every decision.
    pub plan: Plan,
    /// The cluster's tokens and key.
    pub secrets: Secrets,
    hosts: HashMap<String, Arc<Machine>>,
    servers: HashMap<String, OnceCell<Arc<Machine>>>,
}

impl World {
    /// A world in which the plan's hosts are reached by these machines.
    pub fn new(plan: Plan, secrets: Secrets, hosts: HashMap<String, Arc<Machine>>) -> Self {
        let servers = plan
            .servers
            .iter()
            .map(|server| (server.name.clone(), OnceCell::new()))
            .collect();
        Self {
            plan,
            secrets,
            hosts,
            servers,
        }
    }

    /// The same world by another plan; connections to servers that it has unchanged are kept.
    #[must_use]
    pub fn replanned(self, plan: Plan) -> Self {
        let before = self.plan.servers;
        let mut known = self.servers;
        let servers = plan.servers.iter().map(|server| {
            let same = before.contains(server);
            let cell = same.then(|| known.remove(&server.name)).flatten();
            (server.name.clone(), cell.unwrap_or_default())
        });
        Self {
            servers: servers.collect(),
            plan,
            secrets: self.secrets,
            hosts: self.hosts,
        }
    }

    /// A host's machine.
    pub fn host(&self, name: &str) -> Result<&Arc<Machine>> {
        self.hosts.get(name).ok_or_else(|| {
            Failure::new(Code::SshUnreachable, format!("{name} is not connected")).lasting()
        })
    }

    /// A daemon's API, with the token as the host has it now (a restarted daemon may have written a new one).
    pub async fn slicer(&self, daemon: &Daemon) -> Result<Slicer> {
        slicer_on(self.host(&daemon.host)?, daemon).await
    }

    /// A server's machine, reached through its host with host keys read through Slicer's API.
    pub async fn server(&self, server: &Server) -> Result<&Arc<Machine>> {
        let cell = self.servers.get(&server.name).ok_or_else(|| {
            Failure::new(Code::Vm, format!("{} is not in the plan", server.name)).lasting()
        })?;
        cell.get_or_try_init(|| self.connect(server)).await
    }

    /// Puts a machine in a server's place.
    #[cfg(test)]
    pub(crate) fn put_server(&self, name: &str, machine: Arc<Machine>) {
        let _ = self.servers[name].set(machine);
    }

    async fn connect(&self, server: &Server) -> Result<Arc<Machine>> {
        let daemon = self.plan.daemon(&server.group).ok_or_else(|| {
            Failure::new(Code::Vm, format!("{} has no group", server.name)).lasting()
        })?;
        let host_keys = self.slicer(daemon).await?.host_keys(&server.name).await?;
        let remote = ssh::connect_vm(VmTarget {
            name: server.name.clone(),
            via: Arc::clone(self.host(&server.host)?),
            address: server.address,
            user: VM_USER.to_owned(),
            key: self.secrets.ssh_private_key.clone(),
            host_keys,
        })
        .await?;
        Ok(Arc::new(Machine::new(
            &server.name,
            remote,
            Sudo::NoPassword,
        )))
    }

    /// kubectl on the first server that can be reached.
    pub async fn kubernetes(&self) -> Result<Kubernetes> {
        let server = Arc::clone(self.first_server().await?);
        Ok(Kubernetes { server })
    }

    /// The first server that can be reached.
    pub async fn first_server(&self) -> Result<&Arc<Machine>> {
        let mut last = Failure::new(Code::Kubernetes, "no server in the plan").lasting();
        for server in &self.plan.servers {
            match self.server(server).await {
                Ok(machine) => return Ok(machine),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }
}

/// A daemon's API on its host, with the token as that has it now.
pub async fn slicer_on(host: &Arc<Machine>, daemon: &Daemon) -> Result<Slicer> {
    for path in TOKEN_PATHS {
        let Some(text) = host.read(path).await? else {
            continue;
        };
        if !text.trim().is_empty() {
            return Ok(Slicer {
                host: Arc::clone(host),
                group: daemon.group.clone(),
                address: daemon.local_api(),
                token: Secret::new(text.trim()),
            });
        }
    }
    Err(Failure::new(
        Code::SlicerToken,
        format!("no Slicer API token on {}", daemon.host),
    )
    .because(format!("{} does not exist yet", TOKEN_PATHS[0]))
    .hint(format!(
        "on {}: sudo journalctl -u {}",
        daemon.host,
        daemon.unit()
    )))
}
