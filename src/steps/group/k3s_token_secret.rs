//! A worker daemon holds the current join token: the autoscaler makes this secret once and never updates it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::k3s;
use crate::names::k3s::CA_REQUEST_PATH;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Daemon, Plan};
use crate::remote::{Machine, Probe};
use crate::secret::{Secret, sha256};
use crate::slicer::Slicer;
use crate::step_id::{StepId, StepName};
use crate::steps::support::file::File;
use crate::steps::support::run_context::RunContext;
use crate::world::World;

/// The name that the provider's user data reads.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/cloudprovider/slicer/slicer_node_group.go, `IncreaseSize`.
const NAME: &str = "k3s-token";

pub(crate) struct K3sTokenSecret {
    daemon: Daemon,
    needs: Vec<StepId>,
    seen: Arc<RunContext>,
}

/// The full agent token of the cluster as it is now.
pub(crate) async fn token(world: &World) -> Result<Secret> {
    let machine = world.first_server().await?;
    let told = cacerts(machine).await;
    if told.is_err() {
        world.failed(machine).await;
    }
    let told = told?;
    same_cluster(world, machine.name(), &told)?;
    k3s::agent_token(&told, &world.secrets.agent_token)
}

/// The CA certificate that a server shows to whoever is to join.
async fn cacerts(machine: &Machine) -> Result<String> {
    let server = machine.name();
    let probe = Probe::Supervisor(CA_REQUEST_PATH.to_owned());
    let output = machine.probe(&probe).await?;
    if output.ok() {
        return Ok(output.stdout);
    }
    Err(Failure::new(
        Code::Kubernetes,
        format!("{server} does not tell its CA certificate"),
    )
    .because(output.last_words())
    .hint(format!("on {server}: sudo journalctl -u k3s -n 30")))
}

/// Agents and people are sent to the cluster that is on record only.
pub(crate) fn same_cluster(world: &World, server: &str, cacerts: &str) -> Result<()> {
    let ca = sha256(cacerts.as_bytes());
    match &world.plan.founded {
        Some(founded) if founded.ca != ca => Err(Failure::new(
            Code::TwoClusters,
            format!("{server} serves another cluster than the one on record"),
        )
        .because(format!(
            "its CA is {ca:.12}, and the one on record {:.12}",
            founded.ca
        ))
        .hint("slicer-k3s init compares what all servers hold")),
        _ => Ok(()),
    }
}

/// When a daemon got the token that it has now, in seconds since 1970 by its host's clock; `None` where that is not told.
pub(crate) async fn written(slicer: &Slicer) -> Result<Option<i64>> {
    let secrets = slicer.secrets().await?;
    let entry = secrets.iter().find(|secret| secret.name == NAME);
    Ok(entry.and_then(crate::slicer::SecretEntry::written))
}

impl K3sTokenSecret {
    /// Once the first server has started with the tokens as they are recorded; `ahead` of that where new agents are to find
    /// the new token before the servers take it.
    pub(crate) fn new(plan: &Plan, daemon: &Daemon, seen: &Arc<RunContext>, ahead: bool) -> Self {
        let mut needs = vec![StepName::DaemonAnswers.on(&daemon.group)];
        if !ahead {
            needs.extend(crate::steps::server::k3s_started::first_started(plan));
        }
        Self {
            daemon: daemon.clone(),
            needs,
            seen: Arc::clone(seen),
        }
    }

    /// The record of what we wrote. The API never gives a value back, so we keep its hash and the entry's own stamp,
    /// which changes when somebody else writes the secret.
    fn record(&self, world: &World, token: &Secret, stamp: &str) -> File {
        File {
            path: format!("{}/k3s-token.record", world.plan.directory(&self.daemon)),
            mode: "0600",
            content: format!("{} {stamp}\n", token.sha256()),
            secret: true,
        }
    }

    fn lacks(&self, why: &str, phase: Phase) -> Finding {
        if phase == Phase::Before {
            self.seen.will_get_join_token(&self.daemon.group);
        }
        Finding::differs(why)
    }

    async fn stamp(&self, slicer: &Slicer) -> Result<Option<String>> {
        let secrets = slicer.secrets().await?;
        Ok(secrets
            .iter()
            .find(|secret| secret.name == NAME)
            .map(crate::slicer::SecretEntry::stamp))
    }
}

#[async_trait]
impl Step<World> for K3sTokenSecret {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::K3sTokenSecret.on(&self.daemon.group),
            format!("Give {} the join token", self.daemon.group),
            self.daemon.look_at_journal(),
        )
        .needs(self.needs.clone())
        .timeout(Duration::from_secs(15))
    }

    async fn check(&self, world: &World, phase: Phase) -> Result<Finding> {
        let token = token(world).await?;
        let slicer = world.slicer(&self.daemon).await?;
        let Some(stamp) = self.stamp(&slicer).await? else {
            return Ok(self.lacks("the daemon has no join token", phase));
        };
        let host = world.host(&self.daemon.host)?;
        let record = self.record(world, &token, &stamp);
        if record.differs(host).await?.is_some() {
            return Ok(self.lacks(
                "the secret was not written by us, or for another token",
                phase,
            ));
        }
        self.seen.has_join_token(&self.daemon.group);
        Ok(Finding::done())
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        self.seen.join_token_in_flight(&self.daemon.group);
        let token = token(world).await?;
        let slicer = world.slicer(&self.daemon).await?;
        slicer.put_secret(permit, NAME, &token).await?;
        let stamp = self.stamp(&slicer).await?.unwrap_or_default();
        self.record(world, &token, &stamp)
            .write(world.host(&self.daemon.host)?, permit)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, plan, world};

    /// The server that was chosen for the run had died, and every group failed at it though the others were ready.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_is_not_asked_again() {
        let dead = Fake::new().answers("cacerts", 7, "");
        let cacerts = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        let well = Fake::new().says("cacerts", cacerts);
        let world = world(&[("k3s-cp-1", &dead), ("k3s-cp-2", &well)]);
        let failure = token(&world).await.map(drop).unwrap_err();
        assert!(failure.what.contains("k3s-cp-1"), "{failure}");
        token(&world).await.unwrap();
    }

    #[tokio::test]
    async fn the_record_holds_no_token_and_is_roots_alone() {
        let cacerts = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        let fake = Fake::new().says("cacerts", cacerts);
        let world = world(&[("k3s-cp-1", &fake)]);
        let token = token(&world).await.unwrap();
        assert!(token.expose().ends_with("::node:a9e47"));
        let plan = plan();
        let step = K3sTokenSecret::new(&plan, &plan.daemons[1], &Arc::default(), false);
        let record = step.record(&world, &token, "2026 64");
        assert_eq!(record.mode, "0600");
        assert!(!record.content.contains("a9e47") && record.content.ends_with(" 2026 64\n"));
    }
}
