//! Claims whose data lies on the disks of VMs that a command would end: looked for while it plans, and once more by the steps that
//! drain agents before they end, and that delete VMs which never joined. Who ends such VMs unasked is the autoscaler.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use crate::agents;
use crate::control_plane::ControlPlane;
use crate::deletion::{self, Claim};
use crate::escape::escape;
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::names::autoscaler::{ABANDONED, GROUP_LABEL};
use crate::plan::Daemon;
use crate::question::limited;
use crate::steps::Options;
use crate::steps::group::agents_drained::AgentsDrained;
use crate::steps::group::parts::orphans;
use crate::steps::restart::RestartReason;
use crate::steps::server::vm_up;
use crate::vm::Vm;
use crate::world::World;

/// For how long the cluster is asked.
const LOOK: Duration = Duration::from_secs(20);

/// The flag that lets data go.
const FLAG: &str = "--delete-local-data";

/// How many claims one message names.
const NAMED: usize = 20;

/// The label by which volumes know a Node.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What a command would lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stake {
    /// The claims.
    claims: BTreeSet<Claim>,
    /// Why it is not known whether there are others, where VMs would end all the same.
    unknown: Option<String>,
}

impl Stake {
    /// Nothing.
    pub const NONE: Self = Self {
        claims: BTreeSet::new(),
        unknown: None,
    };

    /// Which claims there are is not known, for this reason.
    #[cfg(test)]
    pub(crate) fn unknown(why: &str) -> Self {
        Self {
            unknown: Some(why.to_owned()),
            ..Self::NONE
        }
    }

    /// What to show of it before a person agrees; empty where nothing would be lost.
    pub fn told(&self) -> String {
        let mut text = String::new();
        if !self.claims.is_empty() {
            let _ = writeln!(
                text,
                "  WARNING: data on the disks of VMs that end is lost ({}): {}",
                self.claims.len(),
                escape(&self.list())
            );
        }
        if let Some(why) = &self.unknown {
            let why = escape(why);
            let _ = writeln!(
                text,
                "  WARNING: which volumes lie on the disks of VMs that end is not known: {why}"
            );
        }
        text
    }

    /// Refuses what would lose something, unless `allowed`.
    pub fn permitted(&self, allowed: bool) -> Result<()> {
        if allowed {
            return Ok(());
        }
        if !self.claims.is_empty() {
            return Err(self.refused());
        }
        let Some(why) = &self.unknown else {
            return Ok(());
        };
        Err(Failure::new(
            Code::LocalData,
            "which volumes lie on the disks of VMs that end is not known",
        )
        .because(why)
        .hint(format!(
            "slicer-k3s status shows which servers are up; {FLAG} goes on without this list"
        )))
    }

    fn refused(&self) -> Failure {
        Failure::new(
            Code::LocalData,
            "claims have their data on the disks of VMs that this would end",
        )
        .because(escape(&self.list()))
        .hint(format!(
            "copy what is needed (slicer-k3s kubectl get pv), then run again with {FLAG}, which gives it up"
        ))
    }

    fn list(&self) -> String {
        let first = self.claims.iter().take(NAMED);
        let mut names: Vec<String> = first
            .map(|claim| match &*claim.node {
                "" => format!(
                    "{} (perhaps: its volume goes by labels that such a VM's Node has)",
                    claim.name
                ),
                node => format!("{} on {node}", claim.name),
            })
            .collect();
        let rest = self.claims.len().saturating_sub(NAMED);
        if rest > 0 {
            names.push(format!("and {rest} more"));
        }
        names.join(", ")
    }

    /// Takes up what would be lost with agents of whom it is not known whether they end. Nothing that lies on their disks is nothing
    /// to ask about.
    fn perhaps(&mut self, daemon: &Daemon, why: &str, with: &Self) {
        if *with == Self::NONE {
            return;
        }
        let lies = with.unknown.clone().unwrap_or_else(|| with.list());
        let more = format!(
            "whether {} on {} restarts, which ends the agents of {}, cannot be told ({why}); on their disks: {lies}",
            daemon.unit(),
            daemon.host,
            daemon.group
        );
        self.unknown = Some(match self.unknown.take() {
            Some(before) => format!("{before}; {more}"),
            None => more,
        });
    }
}

/// What is lost with all VMs of these groups.
pub async fn of_groups(world: &World, groups: &[&str]) -> Stake {
    if groups.is_empty() {
        return Stake::default();
    }
    let asked = async {
        let kubernetes = world.kubernetes().await?;
        Volumes::look(&kubernetes, groups).await
    };
    let why = match limited(LOOK, asked).await {
        Ok(Ok(volumes)) => {
            return Stake {
                claims: volumes.lost_with(world, groups).await,
                unknown: None,
            };
        }
        Ok(Err(failure)) => failure.to_string(),
        Err(_) => format!("no server answers within {} s", LOOK.as_secs()),
    };
    Stake {
        claims: BTreeSet::new(),
        unknown: may_have_vms(world, groups).await.then_some(why),
    }
}

/// What `init` would lose: with the agents whose daemons are about to restart, and with VMs that never joined.
pub async fn of_init(world: &World, options: &Options, control_plane: &ControlPlane) -> Stake {
    // What was never founded has run nothing.
    if world.plan.founded.is_none() {
        return Stake::default();
    }
    let (mut stake, strays) = tokio::join!(
        of_agents_that_restart(world, options, control_plane),
        limited(LOOK, of_strays(world))
    );
    // Without an answer none of them is deleted either.
    if let Ok(Ok(claims)) = strays {
        stake.claims.extend(claims);
    }
    stake
}

async fn of_agents_that_restart(
    world: &World,
    options: &Options,
    control_plane: &ControlPlane,
) -> Stake {
    let here = |daemon: &&Daemon| world.host(&daemon.host).is_ok();
    let asked = world.plan.workers().filter(here).map(|daemon| async move {
        if vm_up::may_end(&world.plan, options, control_plane, daemon) {
            return (daemon, Ok(true));
        }
        (daemon, are_to_restart(world, options, daemon).await)
    });
    let (mut ending, mut unsure) = (Vec::new(), Vec::new());
    for (daemon, restarts) in join_all(asked).await {
        match restarts {
            Ok(true) => ending.push(&*daemon.group),
            Ok(false) => {}
            Err(why) => unsure.push((daemon, why)),
        }
    }
    let mut stake = of_groups(world, &ending).await;
    for (daemon, why) in unsure {
        let with = of_groups(world, &[&daemon.group]).await;
        stake.perhaps(daemon, &why, &with);
    }
    stake
}

/// Whether the agents of a daemon end because it is about to restart, or why that cannot be told: it may answer a minute later, and
/// restart.
async fn are_to_restart(world: &World, options: &Options, daemon: &Daemon) -> Result<bool, String> {
    let Some(step) = AgentsDrained::new(daemon, options, RestartReason::Configuration) else {
        return Ok(false);
    };
    match limited(LOOK, step.is_due(world)).await {
        Ok(due) => due.map_err(|failure| failure.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOK.as_secs())),
    }
}

/// Refuses to delete VMs of a group on which claims have their data.
pub(crate) async fn spare(
    kubernetes: &Kubernetes,
    group: &str,
    vms: &BTreeSet<String>,
) -> Result<()> {
    let claims = claims_on(kubernetes, vms).await?;
    if claims.is_empty() {
        return Ok(());
    }
    let stake = Stake {
        claims,
        unknown: None,
    };
    let mut failure = stake.refused();
    failure.what = format!("VMs of {group} that never joined are kept: claims have data on them");
    // Proofs come to this in commands that have no flag for it.
    Err(failure.hint(format!(
        "copy what is needed (slicer-k3s kubectl get pv), then slicer-k3s init {FLAG} gives it up and deletes them"
    )))
}

async fn volumes(kubernetes: &Kubernetes) -> Result<Vec<Value>> {
    kubernetes.list(&["persistentvolume"]).await
}

async fn claims_on(kubernetes: &Kubernetes, vms: &BTreeSet<String>) -> Result<BTreeSet<Claim>> {
    let volumes = volumes(kubernetes).await?;
    Ok(deletion::lost_with(&volumes, |node| {
        vms.iter().any(|vm| agents::is_name_of(node, vm))
    }))
}

/// A cluster's volumes, and the Nodes of groups whose VMs would end.
struct Volumes {
    volumes: Vec<Value>,
    nodes: Vec<Value>,
}

impl Volumes {
    async fn look(kubernetes: &Kubernetes, groups: &[&str]) -> Result<Self> {
        let nodes = ["nodes", "-l", GROUP_LABEL];
        let (volumes, mut nodes) = tokio::try_join!(volumes(kubernetes), kubernetes.list(&nodes))?;
        nodes.retain(|node| {
            let group = node["metadata"]["labels"][GROUP_LABEL].as_str();
            group.is_some_and(|group| groups.contains(&group))
        });
        Ok(Self { volumes, nodes })
    }

    /// What is lost with all VMs of these groups.
    async fn lost_with(&self, world: &World, groups: &[&str]) -> BTreeSet<Claim> {
        let names = self.names();
        let claims = self.claims(groups, &HashMap::new());
        let has_node = |claim: &Claim| claim.node.is_empty() || names.contains(&*claim.node);
        if claims.iter().all(has_node) {
            return claims;
        }
        // A VM without a Node may run on, or be gone with its disk. Asked after the volumes: what one lies on is in the list.
        self.claims(groups, &complete_lists(world, groups).await)
    }

    /// What may be lost, where the VMs of some groups are known to be these and no others.
    fn claims(&self, groups: &[&str], vms: &HashMap<&str, Vec<Vm>>) -> BTreeSet<Claim> {
        let names = self.names();
        let is_there = |node: &str, group: &str| {
            let vms = vms.get(group);
            vms.is_none_or(|vms| vms.iter().any(|vm| agents::is_name_of(node, &vm.hostname)))
        };
        let mut claims = deletion::lost_with(&self.volumes, |node| {
            let mut groups = groups.iter();
            names.contains(node)
                || groups.any(|group| agents::is_of_group(node, group) && is_there(node, group))
        });
        claims.extend(deletion::perhaps_lost_with(&self.volumes, &self.nodes));
        claims
    }

    /// By what volumes know the Nodes.
    fn names(&self) -> BTreeSet<&str> {
        let names = self.nodes.iter().flat_map(|node| {
            let metadata = &node["metadata"];
            [&metadata["name"], &metadata["labels"][HOSTNAME]]
        });
        names.filter_map(Value::as_str).collect()
    }
}

/// The VMs of those of the groups whose daemon says which they are: `null` may be no list.
async fn complete_lists<'g>(world: &World, groups: &[&'g str]) -> HashMap<&'g str, Vec<Vm>> {
    let asked = groups.iter().map(|group| async move {
        let vms = limited(LOOK, vms_or_null(world, group)).await;
        Some((*group, vms.ok()?.ok()??))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn vms_or_null(world: &World, group: &str) -> Result<Option<Vec<Vm>>> {
    match world.plan.daemon(group) {
        Some(daemon) => world.slicer(daemon).await?.vms_or_null(group).await,
        None => Ok(None),
    }
}

/// What is lost with VMs that had the time to join and did not.
async fn of_strays(world: &World) -> Result<BTreeSet<Claim>> {
    let kubernetes = world.kubernetes().await?;
    let here = |daemon: &&Daemon| world.host(&daemon.host).is_ok();
    let asked = world
        .plan
        .workers()
        .filter(here)
        .map(|daemon| orphans::never_joined(world, &kubernetes, daemon, ABANDONED));
    let mut strays = BTreeSet::new();
    for found in futures_util::future::join_all(asked).await {
        // A daemon that does not answer loses no VM.
        strays.extend(found.map(|it| it.names).unwrap_or_default());
    }
    if strays.is_empty() {
        return Ok(BTreeSet::new());
    }
    claims_on(&kubernetes, &strays).await
}

/// Whether one of the groups has VMs, or may have.
async fn may_have_vms(world: &World, groups: &[&str]) -> bool {
    let lists = complete_lists(world, groups).await;
    let is_empty = |group: &str| lists.get(group).is_some_and(Vec::is_empty);
    !groups.iter().all(|group| is_empty(group))
}

#[cfg(test)]
mod tests;
