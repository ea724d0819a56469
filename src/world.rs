//! What steps work with: the plan, and connections that are made when first asked for and kept.

mod choice;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::names::slicer::VM_USER;
use crate::plan::{Daemon, Plan, Server};
use crate::remote::ssh::{self, HostKeys, VmTarget};
use crate::remote::{Machine, Sudo};
use crate::secret::Secret;
use crate::shared::Shared;
use crate::slicer::{Slicer, client, host_token, slicer_on};
use crate::state::Secrets;
use choice::Choice;

/// The world of one run.
pub struct World {
    /// Every decision.
    pub plan: Plan,
    /// The cluster's tokens and key.
    pub secrets: Secrets,
    hosts: HashMap<String, Arc<Machine>>,
    /// Why a host is not among them.
    absent: HashMap<String, Failure>,
    servers: HashMap<String, Shared<Arc<Machine>>>,
    /// The server whose API is asked.
    choice: Choice,
}

impl World {
    /// A world in which the plan's hosts are reached by these machines.
    pub fn new(plan: Plan, secrets: Secrets, hosts: HashMap<String, Arc<Machine>>) -> Self {
        let servers = plan
            .servers
            .iter()
            .map(|server| (server.name.clone(), Shared::default()))
            .collect();
        Self {
            plan,
            secrets,
            hosts,
            absent: HashMap::new(),
            servers,
            choice: Choice::default(),
        }
    }

    /// The same world where it is known why some hosts could not be connected to: that is what is said when one is needed.
    #[must_use]
    pub fn without(mut self, absent: impl IntoIterator<Item = (String, Failure)>) -> Self {
        self.absent.extend(absent);
        self
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
            absent: self.absent,
            choice: Choice::default(),
        }
    }

    /// A host's machine. Where it could not be connected to, the reason; a run does not try again.
    pub fn host(&self, name: &str) -> Result<&Arc<Machine>> {
        self.hosts.get(name).ok_or_else(|| {
            let failure = self.absent.get(name).cloned().unwrap_or_else(|| {
                Failure::new(Code::SshUnreachable, format!("{name} is not connected"))
            });
            failure.permanent()
        })
    }

    /// A daemon's API, with the token as the host has it now (a restarted daemon may have written a new one). While a host's
    /// token is being replaced, a daemon that has not restarted since takes the one before: then it comes with that.
    pub async fn slicer(&self, daemon: &Daemon) -> Result<Slicer> {
        let host = self.host(&daemon.host)?;
        let Some(old) = self.secrets.retired.slicer.get(&daemon.host) else {
            return slicer_on(host, daemon).await;
        };
        let by = |token: Secret| client(host, daemon, token);
        match host_token(host).await? {
            Some(now) if now != *old => {
                let slicer = by(now);
                Ok(match slicer.takes_its_token().await {
                    Ok(false) => by(old.clone()),
                    // One that does not answer says so to whoever asks it for something.
                    Ok(true) | Err(_) => slicer,
                })
            }
            _ => Ok(by(old.clone())),
        }
    }

    /// A server's machine, reached through its host with host keys read through Slicer's API.
    pub async fn server(&self, server: &Server) -> Result<&Arc<Machine>> {
        let cell = self.servers.get(&server.name).ok_or_else(|| {
            Failure::new(Code::Vm, format!("{} is not in the plan", server.name)).permanent()
        })?;
        cell.get_or_try_init(|| self.connect(server)).await
    }

    /// Puts a machine in a server's place.
    #[cfg(test)]
    pub(crate) fn put_server(&self, name: &str, machine: Arc<Machine>) {
        self.servers[name].set(machine);
    }

    async fn connect(&self, server: &Server) -> Result<Arc<Machine>> {
        let daemon = self.plan.daemon(&server.group).ok_or_else(|| {
            Failure::new(Code::Vm, format!("{} has no group", server.name)).permanent()
        })?;
        let host_keys = KeysOf {
            slicer: self.slicer(daemon).await?,
            vm: server.name.clone(),
        };
        let remote = ssh::connect_vm(VmTarget {
            name: server.name.clone(),
            via: Arc::clone(self.host(&server.host)?),
            address: server.address,
            user: VM_USER.to_owned(),
            key: self.secrets.ssh_private_key.clone(),
            host_keys: Box::new(host_keys),
        })
        .await?;
        Ok(Arc::new(Machine::new(
            &server.name,
            remote,
            Sudo::NoPassword,
        )))
    }
}

/// A VM's host keys through its daemon's API.
struct KeysOf {
    slicer: Slicer,
    vm: String,
}

#[async_trait]
impl HostKeys for KeysOf {
    async fn read(&self) -> Result<Vec<String>> {
        self.slicer.host_keys(&self.vm).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    /// A rotation that was cut short between a host's file and its daemon's restart locked the run that goes on out, and every
    /// other command with it.
    #[tokio::test]
    async fn a_daemon_that_has_not_restarted_is_asked_by_the_token_before() {
        for (new, wanted) in [(401, "0ld"), (0, "new")] {
            let fake = Fake::new().says("auth/token", "new\n").answers(
                "GET /hostgroup Bearer new",
                new,
                "[]",
            );
            let mut world = world(&[("n100", &fake)]);
            let old = Secret::new("0ld");
            world.secrets.retired.slicer.insert("n100".into(), old);
            let slicer = world.slicer(&plan().daemons[0]).await.unwrap();
            assert_eq!(slicer.token.expose(), wanted);
        }
    }

    /// A cut write left an empty file; the daemon runs on with what it was started with.
    #[tokio::test]
    async fn a_host_whose_token_file_is_empty_is_asked_by_the_token_before() {
        let mut world = world(&[("n100", &Fake::new())]);
        let old = Secret::new("0ld");
        world.secrets.retired.slicer.insert("n100".into(), old);
        let slicer = world.slicer(&plan().daemons[0]).await.unwrap();
        assert_eq!(slicer.token.expose(), "0ld");
    }

    /// `kubectl` said that a host is not connected, and not that it refused the connection.
    #[test]
    fn an_absent_hosts_own_failure_is_reported() {
        let refused = Failure::new(Code::SshUnreachable, "cannot connect to n100")
            .because("Connection refused")
            .hint("does its SSH server run, and on port 1?");
        let world = world(&[]).without([("n100".to_owned(), refused.clone())]);
        let failure = world.host("n100").map(drop).unwrap_err();
        assert_eq!(failure, refused.permanent());
        assert!(world.host("ryzen").is_err());
    }
}
