//! What commands on an existing cluster begin with: cluster.toml, state, the last plan, connected hosts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::Global;
use crate::config::{self, Config};
use crate::failure::{Code, Failure, Result};
use crate::fleet::{self, Fleet};
use crate::plan::Plan;
use crate::remote::Machine;
use crate::state::State;
use crate::world::World;

/// A cluster that `init` made.
pub(crate) struct Context {
    /// The state directory.
    pub(crate) directory: PathBuf,
    /// Connections and decisions.
    pub(crate) world: World,
}

impl Context {
    /// The cluster of cluster.toml, as the last `init` planned it.
    pub(crate) async fn existing(global: &Global) -> Result<Self, Vec<Failure>> {
        let config = load(global)?;
        let directory = State::directory(&config.name).map_err(super::one)?;
        let state = State::open(&directory).map_err(super::one)?.ok_or_else(|| none(&config.name))?;
        let plan = state.last_plan.clone().ok_or_else(|| none(&config.name))?;
        let needed: Vec<&str> = needed_hosts(&plan);
        let fleet = fleet::connect(&config, global, &needed).await?;
        let world = World::new(plan, state.secrets, machines(fleet));
        Ok(Self { directory, world })
    }

    /// The first server that answers.
    pub(crate) async fn first_server(&self) -> Result<&Arc<Machine>> {
        let mut last = Failure::new(Code::Vm, "the plan has no server").lasting();
        for server in &self.world.plan.servers {
            match self.world.server(server).await {
                Ok(machine) => return Ok(machine),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }
}

/// cluster.toml, or everything that is wrong with it.
pub(crate) fn load(global: &Global) -> Result<Config, Vec<Failure>> {
    config::load(&global.config)
        .map_err(|problems| problems.into_iter().map(Failure::from).collect())
}

fn none(cluster: &str) -> Vec<Failure> {
    vec![
        Failure::new(Code::Config, format!("no cluster called {cluster} was made from here"))
            .hint("slicer-k3s init makes it"),
    ]
}

/// The hosts that carry servers: enough for what is asked of Kubernetes.
fn needed_hosts(plan: &Plan) -> Vec<&str> {
    let mut hosts: Vec<&str> = plan.hosts.iter().map(|host| host.name.as_str()).collect();
    hosts.dedup();
    hosts
}

fn machines(fleet: Fleet) -> HashMap<String, Arc<Machine>> {
    fleet.machines
}
