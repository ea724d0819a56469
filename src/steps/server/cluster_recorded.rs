//! That the cluster was founded, and which servers vote, is on record: in this workstation's state and on every host.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use crate::control_plane::{self, Judgement};
use crate::failure::{Code, Failure, Result};
use crate::generate;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::{Founded, Plan};
use crate::state::State;
use crate::step_id::{StepId, StepName};
use crate::steps::Options;
use crate::steps::support::file::File;
use crate::world::World;

pub(crate) struct ClusterRecorded {
    /// The state's directory.
    state: PathBuf,
    after: Vec<StepId>,
    needs: Vec<StepId>,
}

impl ClusterRecorded {
    /// Where not every server is on record as one that votes.
    pub(crate) fn new(plan: &Plan, options: &Options) -> Option<Self> {
        let on_record = |founded: &Founded| {
            let mut servers = plan.servers.iter();
            servers.all(|server| founded.voters.contains(&server.name))
        };
        if plan.founded.as_ref().is_some_and(on_record) {
            return None;
        }
        let servers = plan.servers_here();
        Some(Self {
            state: options.state.clone(),
            after: servers
                .map(|server| StepName::EtcdVoter.on(&server.name))
                .collect(),
            needs: crate::steps::server::api_ready::needed(plan),
        })
    }

    /// The cluster as its servers have it now.
    async fn founded(&self, world: &World) -> Result<Option<Founded>> {
        let seen = control_plane::ask_again(world).await;
        match control_plane::judge(&world.plan, &seen, &[]) {
            Judgement::Clear(control_plane) => Ok(control_plane.founded),
            Judgement::Refused(refusal) => Err(refusal.failure),
        }
    }

    fn marks(world: &World, founded: &Founded) -> Result<Vec<(String, File)>> {
        let mut plan = world.plan.clone();
        plan.founded = Some(founded.clone());
        let hosts = plan.hosts.iter();
        hosts
            .map(|host| Ok((host.name.clone(), generate::host_mark(&plan, &host.name)?)))
            .collect()
    }

    fn state(&self) -> Result<State> {
        State::open(&self.state)?.ok_or_else(|| {
            Failure::new(
                Code::LocalFile,
                format!("the state in {} is gone", self.state.display()),
            )
            .hint("restore it from a backup: it holds the cluster's tokens")
        })
    }
}

#[async_trait]
impl Step<World> for ClusterRecorded {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::ClusterRecorded.on_cluster(),
            "Record that the cluster is founded",
            "slicer-k3s status shows what each server holds",
        )
        .needs(self.needs.clone())
        .after(self.after.clone())
        .timeout(Duration::from_secs(30))
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let Some(founded) = self.founded(world).await? else {
            return Ok(Finding::Unknown(
                "no server says that it holds a cluster".into(),
            ));
        };
        if self.state()?.decisions.founded.as_ref() != Some(&founded) {
            return Ok(Finding::differs("it is not in the state"));
        }
        for (host, mark) in Self::marks(world, &founded)? {
            if mark.differs(world.host(&host)?).await?.is_some() {
                return Ok(Finding::differs(format!("it is not in the mark on {host}")));
            }
        }
        Ok(Finding::Done(format!("CA {:.12}", founded.ca)))
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let Some(founded) = self.founded(world).await? else {
            return Ok(());
        };
        let mut state = self.state()?;
        state.decisions.founded = Some(founded.clone());
        state.save(&self.state)?;
        let marks = Self::marks(world, &founded)?;
        try_join_all(
            marks
                .iter()
                .map(|(host, mark)| async move { mark.write(world.host(host)?, permit).await }),
        )
        .await
        .map(drop)
    }
}
