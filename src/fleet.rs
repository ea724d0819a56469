//! The hosts of cluster.toml, connected side by side, each as root.

mod awake;
mod lock;
mod note;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

#[cfg(test)]
pub(crate) use lock::tests::lost_lock;
pub use lock::{ClusterLock, Weights};
pub use note::{Note, Replaced, newest_note};

use crate::config::{self, Config};
use crate::facts::HostFacts;
use crate::failure::{Code, Failure, Failures, Result};
use crate::plan::{Mark, Plan};
use crate::question::{Elapsed, limited};
use crate::remote::ssh::{self, HostTarget, KeyPolicy};
use crate::remote::{Local, Machine, Probe, Remote, sudo};
use crate::state::Secrets;
use crate::world::World;

/// Connected hosts, and those that did not answer.
pub struct Fleet {
    /// By name in cluster.toml.
    pub machines: HashMap<String, Arc<Machine>>,
    /// Hosts that are off or unreachable, with the reason: the others go on without them.
    pub absent: Vec<(String, Failure)>,
}

impl Fleet {
    /// Hosts that do not answer, each with the reason in words.
    pub fn reasons(&self) -> Vec<(String, String)> {
        let absent = self.absent.iter();
        let reasons = absent.map(|(name, failure)| (name.clone(), failure.to_string()));
        reasons.collect()
    }

    /// A plan's world, over the connections that there are.
    pub fn world(&self, plan: Plan, secrets: Secrets) -> World {
        World::new(plan, secrets, self.machines.clone()).without(self.absent.clone())
    }
}

/// Connects to every host. A host that does not answer is absent; one that
/// refuses us (key, host key, sudo) is everybody's failure, since waiting or going on would not mend it.
pub async fn connect(config: &Config, keys: &KeyPolicy) -> Result<Fleet, Failures> {
    connect_others(config, keys, HashMap::new()).await
}

/// The same where some hosts are connected already.
pub(crate) async fn connect_others(
    config: &Config,
    keys: &KeyPolicy,
    known: HashMap<String, Arc<Machine>>,
) -> Result<Fleet, Failures> {
    let mut fleet = Fleet {
        machines: known,
        absent: Vec::new(),
    };
    fleet.connect_absent(config, keys).await;
    let refused: Failures = fleet
        .absent
        .extract_if(.., |(_, failure)| failure.is_permanent())
        .map(|(_, failure)| failure)
        .collect();
    if refused.is_empty() {
        Ok(fleet)
    } else {
        Err(refused)
    }
}

/// The same for whoever only looks: a host that refuses us is absent too, and one that is off keeps nobody waiting.
pub async fn connect_available(config: &Config, keys: &KeyPolicy) -> Fleet {
    let mut fleet = Fleet {
        machines: HashMap::new(),
        absent: Vec::new(),
    };
    fleet.connect_within(config, keys).await;
    fleet
}

/// A host of a LAN answers at once or not at all; whoever acts waits longer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

impl Fleet {
    /// Connects to the hosts that are not connected yet, each for as long as a connection may take.
    pub async fn connect_absent(&mut self, config: &Config, keys: &KeyPolicy) {
        self.try_absent(config, keys, None).await;
    }

    /// Connects to the hosts that are not connected yet, for [`PROBE_TIMEOUT`] each: for commands that change nothing.
    pub async fn connect_within(&mut self, config: &Config, keys: &KeyPolicy) {
        self.try_absent(config, keys, Some(PROBE_TIMEOUT)).await;
    }

    async fn try_absent(&mut self, config: &Config, keys: &KeyPolicy, limit: Option<Duration>) {
        let hosts = config.hosts.iter();
        let missing: Vec<&config::Host> = hosts
            .filter(|host| !self.machines.contains_key(&host.name))
            .collect();
        let tried = join_all(missing.iter().map(|host| within(limit, host, keys))).await;
        self.absent.clear();
        for (host, result) in missing.into_iter().zip(tried) {
            match result {
                Ok(machine) => {
                    self.machines.insert(host.name.clone(), Arc::new(machine));
                }
                Err(failure) => self.absent.push((host.name.clone(), failure)),
            }
        }
    }
}

/// Connects to one host, for no longer than `limit` where there is one. A person may take any time to answer.
async fn within(
    limit: Option<Duration>,
    host: &config::Host,
    policy: &KeyPolicy,
) -> Result<Machine> {
    let Some(limit) = limit else {
        return one(host, policy).await;
    };
    let let_in = AtomicBool::new(false);
    let machine = async {
        let remote = reach(host, policy).await?;
        let_in.store(true, Ordering::Relaxed);
        enter(host, remote).await
    };
    match limited(limit, machine).await {
        Ok(machine) => machine,
        Err(Elapsed) if let_in.into_inner() => Err(Failure::new(
            Code::SshLost,
            format!(
                "{} lets us in, and is not ready within {} s",
                host.name,
                limit.as_secs()
            ),
        )),
        Err(Elapsed) => Err(Failure::new(
            Code::SshUnreachable,
            format!("{} does not answer within {} s", host.name, limit.as_secs()),
        )),
    }
}

/// Connects to one host, as root.
pub async fn one(host: &config::Host, policy: &KeyPolicy) -> Result<Machine> {
    enter(host, reach(host, policy).await?).await
}

/// Connects to one host, as whoever it lets in.
async fn reach(host: &config::Host, policy: &KeyPolicy) -> Result<Box<dyn Remote>> {
    let target = match &host.ssh {
        config::Ssh::Local => return Ok(Box::new(Local)),
        config::Ssh::Target(target) => target.clone(),
    };
    let target = HostTarget {
        name: host.name.clone(),
        target,
        port: host.port,
        key_file: host.key_file.clone(),
        jump: host.jump.clone(),
        host_key: host.host_key.clone(),
    };
    ssh::connect_host(&target, policy).await
}

/// Becomes root on a connected host.
async fn enter(host: &config::Host, remote: Box<dyn Remote>) -> Result<Machine> {
    let (sudo, tunnels) = tokio::join!(
        sudo::find(
            &host.name,
            remote.as_ref(),
            host.sudo_password_file.as_deref(),
        ),
        tunnels(remote.as_ref())
    );
    let sudo = sudo?;
    tunnels?;
    Ok(Machine::new(&host.name, remote, sudo))
}

/// Whether the machine lets us reach its ports: Slicer's API and the VMs are behind them, and to be told so after half a
/// run helps nobody. Nobody listens on the port that is asked for; what counts is who says no.
async fn tunnels(remote: &dyn Remote) -> Result<()> {
    match remote.forward("127.0.0.1", 1).await {
        Err(failure) if failure.code == Code::SshForward => Err(failure),
        _ => Ok(()),
    }
}

/// Looks at one host.
pub async fn facts(machine: &Machine) -> Result<HostFacts> {
    let output = machine.probe(&Probe::Survey).await?;
    HostFacts::parse(machine.name(), &output.stdout)
}

/// The marks of a cluster on the connected hosts.
pub async fn marks(fleet: &Fleet, cluster: &str) -> Result<Vec<Mark>> {
    let path = Mark::path(cluster);
    let read = fleet.machines.values().map(|machine| async {
        let text = machine.read_if_there(&path).await?;
        text.map(|text| Mark::read(machine.name(), cluster, &text))
            .transpose()
    });
    let marks: Result<Vec<Option<Mark>>> = join_all(read).await.into_iter().collect();
    Ok(marks?.into_iter().flatten().collect())
}

/// Looks at every connected host, side by side.
pub async fn survey(fleet: &Fleet) -> Result<Vec<HostFacts>, Failures> {
    let looks = fleet.machines.values().map(|machine| facts(machine));
    let (mut facts, mut failures) = (Vec::new(), Vec::new());
    for result in join_all(looks).await {
        match result {
            Ok(found) => facts.push(found),
            Err(failure) => failures.push(failure),
        }
    }
    facts.sort_by(|a, b| a.name.cmp(&b.name));
    if failures.is_empty() {
        Ok(facts)
    } else {
        Err(failures)
    }
}
