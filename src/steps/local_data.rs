//! Claims whose data lies on the disks of VMs that a command would end: looked for while it plans, and once more by the step that
//! deletes. Who ends such VMs unasked is the autoscaler.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::agents_drained::AgentsDrained;
use super::restart::Cause;
use super::{Options, orphans};
use crate::agents::{self, ABANDONED, GROUP_LABEL};
use crate::deletion::{self, Claim};
use crate::failure::{Code, Failure, Result};
use crate::kubernetes::Kubernetes;
use crate::plan::Daemon;
use crate::question::limited;
use crate::report::escape;
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
                self.list()
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
        .because(self.list())
        .hint(format!(
            "copy what is needed (slicer-k3s kubectl get pv), then run again with {FLAG}, which gives it up"
        ))
    }

    fn list(&self) -> String {
        let first = self.claims.iter().take(NAMED);
        let mut names: Vec<String> = first
            .map(|claim| format!("{} on {}", claim.name, claim.node))
            .collect();
        let rest = self.claims.len().saturating_sub(NAMED);
        if rest > 0 {
            names.push(format!("and {rest} more"));
        }
        escape(&names.join(", "))
    }
}

/// What is lost with all VMs of these groups.
pub async fn of_groups(world: &World, groups: &[&str]) -> Stake {
    if groups.is_empty() {
        return Stake::default();
    }
    let asked = async {
        let kubernetes = world.kubernetes().await?;
        claims_of(&kubernetes, groups).await
    };
    let why = match limited(LOOK, asked).await {
        Ok(Ok(claims)) => {
            return Stake {
                claims,
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
pub async fn of_init(world: &World, options: &Options) -> Stake {
    // What was never founded has run nothing.
    if world.plan.founded.is_none() {
        return Stake::default();
    }
    let (mut stake, strays) = tokio::join!(
        of_agents_that_restart(world, options),
        limited(LOOK, of_strays(world))
    );
    // Without an answer none of them is deleted either.
    if let Ok(Ok(claims)) = strays {
        stake.claims.extend(claims);
    }
    stake
}

async fn of_agents_that_restart(world: &World, options: &Options) -> Stake {
    let mut ending = Vec::new();
    for daemon in world.plan.workers() {
        let step = AgentsDrained::new(daemon, options, Cause::Configuration);
        // A daemon that cannot be asked now is refused or waited for by its own steps.
        if let Some(step) = step
            && matches!(step.is_due(world).await, Ok(true))
        {
            ending.push(&*daemon.group);
        }
    }
    of_groups(world, &ending).await
}

/// Refuses to delete VMs of a group on which claims have their data.
pub(super) async fn spare(
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
    Err(failure)
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

async fn claims_of(kubernetes: &Kubernetes, groups: &[&str]) -> Result<BTreeSet<Claim>> {
    let nodes = ["nodes", "-l", GROUP_LABEL];
    let (volumes, nodes) = tokio::try_join!(volumes(kubernetes), kubernetes.list(&nodes))?;
    let ours = nodes.iter().filter(|node| {
        let group = node["metadata"]["labels"][GROUP_LABEL].as_str();
        group.is_some_and(|group| groups.contains(&group))
    });
    let names: BTreeSet<&str> = ours
        .flat_map(|node| {
            let metadata = &node["metadata"];
            [&metadata["name"], &metadata["labels"][HOSTNAME]]
        })
        .filter_map(Value::as_str)
        .collect();
    Ok(deletion::lost_with(&volumes, |node| {
        names.contains(node) || groups.iter().any(|group| agents::is_of_group(node, group))
    }))
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
    for group in groups {
        let Some(daemon) = world.plan.daemon(group) else {
            return true;
        };
        let vms = async { world.slicer(daemon).await?.vms(group).await };
        match limited(LOOK, vms).await {
            Ok(Ok(vms)) if vms.is_empty() => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{Fake, plan, world};

    /// A bound volume on this Node's disk, as the local-path-provisioner makes it.
    fn volumes(node: &str) -> String {
        format!(
            r#"{{"kind":"List","metadata":{{}},"items":[{{"spec":{{"hostPath":{{"path":"/x"}},"claimRef":{{"namespace":"default","name":"precious"}},
            "nodeAffinity":{{"required":{{"nodeSelectorTerms":[{{"matchExpressions":[{{"key":"kubernetes.io/hostname","operator":"In","values":["{node}"]}}]}}]}}}}}},
            "status":{{"phase":"Bound"}}}}]}}"#
        )
    }

    const NODES: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"n","labels":{"slicer/hostgroup":"k3s-agents-1","kubernetes.io/hostname":"n.lan"}}}]}"#;

    fn server(node: &str) -> Fake {
        Fake::new()
            .says("/persistentvolumes?", &volumes(node))
            .says("/nodes", NODES)
    }

    #[tokio::test]
    async fn claims_of_a_group_are_named_by_its_nodes_and_refused_without_the_flag() {
        for (node, lost) in [
            ("n", true),
            ("n.lan", true),
            ("k3s-agents-1-4-00ff00ff", true),
            ("k3s-agents-10-4-00ff00ff", false),
            ("k3s-cp-1", false),
        ] {
            let world = world(&[("k3s-cp-1", &server(node))]);
            let stake = of_groups(&world, &["k3s-agents-1"]).await;
            let named = stake
                .told()
                .contains(&format!("default/precious on {node}"));
            assert_eq!(named, lost, "{node}");
            assert_eq!(stake.permitted(false).is_err(), lost, "{node}");
            assert!(stake.permitted(true).is_ok());
        }
        let world = world(&[("k3s-cp-1", &server("n"))]);
        let stake = of_groups(&world, &["k3s-agents-1"]).await;
        let failure = stake.permitted(false).unwrap_err();
        assert_eq!(failure.code, Code::LocalData);
        assert!(failure.hint.unwrap().contains(FLAG));
    }

    /// No answer is no proof that nothing is there; a group without VMs has nothing to lose.
    #[tokio::test]
    async fn a_list_that_did_not_come_is_not_an_empty_one() {
        for (vms, refused) in [
            (r#"[{"hostname":"a-1"}]"#, true),
            ("null", false),
            ("[]", false),
            ("", true),
        ] {
            let host = Fake::new()
                .says("auth/token", "t0ken\n")
                .says("GET /hostgroup/k3s-agents-1/nodes", vms);
            let server = Fake::new()
                .says("/persistentvolumes?", "")
                .says("/nodes", NODES);
            let world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
            let stake = of_groups(&world, &["k3s-agents-1"]).await;
            assert_eq!(stake.permitted(false).is_err(), refused, "{vms}");
            assert_eq!(!stake.told().is_empty(), refused, "{vms}");
        }
    }

    /// `init` ends agents only by restarts that were allowed and are due.
    #[tokio::test]
    async fn init_names_the_claims_of_agents_whose_daemon_is_about_to_restart() {
        let daemon = plan().daemons[1].clone();
        let yaml = super::super::daemon_config::host_yaml(&world(&[]), &daemon).unwrap();
        let current = crate::secret::sha256(yaml.content.as_bytes());
        for (process, allowed, lost) in [
            ("0ld", true, true),
            ("0ld", false, false),
            (current.as_str(), true, false),
        ] {
            let host = Fake::new()
                .says("ActiveState", "ActiveState=active\nSubState=running\n")
                .says("environ", process);
            let server = server("n");
            let mut world = world(&[("k3s-cp-1", &server), ("ryzen", &host)]);
            world.plan.daemons.truncate(2);
            world.plan.founded = Some(crate::plan::Founded {
                ca: "f00".into(),
                voters: BTreeSet::new(),
            });
            let options = Options {
                allow_outage: allowed,
                ..crate::steps::tests::options()
            };
            let stake = of_init(&world, &options).await;
            assert_eq!(stake.permitted(false).is_err(), lost, "{process} {allowed}");
            // A cluster that was never made has nothing to lose, and is not asked.
            world.plan.founded = None;
            assert_eq!(of_init(&world, &options).await, Stake::default());
        }
    }
}
