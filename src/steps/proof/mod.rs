//! The proof that a group scales: a pod that only a new agent can run, then nothing that needs it.
//!
//! Six facts, so that the engine's waiting, and its tale of why it waits, serve here too: nothing is left of an earlier
//! proof, it scaled up, servers reach what came, it scaled down, nothing is left of this one, and the cluster remembers that it was proven.

mod agent_path;
mod clean;
mod forgotten;
mod leftovers;
mod parts;
mod proven;
mod scale_down;
mod scale_up;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use forgotten::Forgotten;

use super::Proof;
use crate::failure::Result;
use crate::kubernetes::Kubernetes;
use crate::plan::{Daemon, Plan};
use crate::secret::sha256;
use crate::step_id::{StepId, StepName};
use crate::steps::AnyStep;
use crate::world::World;

/// The proof of one group, as its six steps share it.
struct ProofRun {
    daemon: Daemon,
    wanted: Proof,
    /// Data on the disks of VMs that never joined may go with them.
    local_data: bool,
    /// What a proof vouches for: another URL, k3s or autoscaler must be proven anew.
    fingerprint: String,
    progress: Mutex<Progress>,
}

/// What this run did.
#[derive(Default)]
struct Progress {
    started: bool,
    removed: bool,
    /// VMs that were there before the proof.
    vms_before: BTreeSet<String>,
    /// (Node, VM) that the proof's pods ran on.
    nodes: Vec<(String, String)>,
    /// Which other group keeps the autoscaler.
    silent: parts::silent::Silent,
}

impl ProofRun {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the cluster remembers this very proof and nobody asked for it again.
    async fn stands(&self, kubernetes: &Kubernetes) -> Result<bool> {
        Ok(!self.wanted.again && parts::record::read(kubernetes, self).await?)
    }

    fn id(&self, name: StepName) -> StepId {
        name.on(&self.daemon.group)
    }
}

/// The steps that prove one group, or without `wanted` only clear what a proof that was cut short has left.
///
/// `restarts`: the steps after which servers that are members already restart no more. Those that join are not waited for: the
/// autoscaler needs one server, and promotions take their time.
pub(crate) fn steps(
    plan: &Plan,
    daemon: &Daemon,
    wanted: Option<Proof>,
    restarts: &[StepId],
    local_data: bool,
) -> Vec<AnyStep> {
    let vouched = format!(
        "{} {} {} {}:{}",
        daemon.url(),
        daemon.image,
        plan.k3s.version,
        plan.autoscaler.image,
        plan.autoscaler.pinned_tag()
    );
    let trial = Arc::new(ProofRun {
        daemon: daemon.clone(),
        wanted: wanted.unwrap_or(Proof {
            pods: 0,
            again: false,
        }),
        local_data,
        fingerprint: sha256(vouched.as_bytes()),
        progress: Mutex::default(),
    });
    let needs = vec![
        StepName::AutoscalerRunning.on_cluster(),
        StepName::AddonsOnServers.on_cluster(),
        StepName::GroupReachable.on(&daemon.group),
        StepName::K3sTokenSecret.on(&daemon.group),
    ];
    // Whoever removes agents restarts the autoscaler, which would forget the VM that it has just ordered.
    let settled = plan
        .workers()
        .map(|daemon| StepName::AgentsSettled.on(&daemon.group));
    let after = settled.chain(restarts.iter().cloned()).collect();
    let leftovers = Box::new(leftovers::Leftovers::new(&trial, needs, after));
    if wanted.is_none() {
        return vec![leftovers];
    }
    let servers = plan.servers_here();
    let reachable = servers.map(|server| StepName::VmReachable.on(&server.name));
    vec![
        leftovers,
        Box::new(scale_up::ScaleUp::new(&trial)),
        Box::new(agent_path::AgentPath::new(&trial, reachable.collect())),
        Box::new(scale_down::ScaleDown::new(&trial)),
        Box::new(clean::Clean::new(&trial)),
        Box::new(proven::Proven::new(&trial)),
    ]
}

/// A group's VMs by name.
async fn vms(world: &World, daemon: &Daemon) -> Result<BTreeSet<String>> {
    let vms = world.slicer(daemon).await?.vms(&daemon.group).await?;
    Ok(vms.into_iter().map(|vm| vm.hostname).collect())
}

#[cfg(test)]
fn trial(again: bool) -> Arc<ProofRun> {
    Arc::new(ProofRun {
        daemon: crate::testing::plan().daemons[1].clone(),
        wanted: Proof { pods: 2, again },
        local_data: false,
        fingerprint: "f00".into(),
        progress: Mutex::default(),
    })
}
