//! What commands begin with: cluster.toml, the state directory, connected hosts.

use std::path::{Path, PathBuf};

use super::plan_file;
use super::turn::Turn;
use crate::cli::Global;
use crate::config::{self, Config};
use crate::failure::{Code, Failure, Result};
use crate::fleet;
use crate::plan::Plan;
use crate::state::{self, Lock, State};
use crate::steps;
use crate::world::World;

/// The cluster's state directory and what lies in it.
pub(crate) struct Home(PathBuf);

impl Home {
    /// Of the cluster called `name`.
    pub(crate) fn of(name: &str) -> Result<Self> {
        State::directory(name).map(Self)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Decisions and secrets.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// The cluster's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// What steps are asked for by a command that is asked for nothing that costs anything.
    pub(crate) fn modest(&self) -> steps::Options {
        steps::Options::modest(self.0.clone(), self.kubeconfig())
    }

    /// Where the logs of runs are kept.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The plan of the last run that began to act: what commands on an existing cluster go by.
    pub(crate) fn plan_file(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// That plan, where there is one. A file that cannot be read, or that a newer release wrote, is a failure.
    pub(crate) fn last_plan(&self) -> Result<Option<Plan>> {
        plan_file::read(&self.plan_file())
    }

    /// Puts the directory aside, whole: a destroyed cluster's tokens still open its snapshots. Where it is now.
    pub(crate) fn archive(&self, id: &str) -> Result<PathBuf> {
        let failed = |error: std::io::Error| {
            Failure::new(
                Code::LocalFile,
                format!("cannot archive {}", self.0.display()),
            )
            .because(error)
        };
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        let archive = state::archive(&self.0);
        let place = archive.join(format!("{name}-{id}"));
        fs_err::create_dir_all(&archive).map_err(failed)?;
        fs_err::rename(&self.0, &place).map_err(failed)?;
        Ok(place)
    }

    /// Keeps a plan.
    pub(crate) fn keep_plan(&self, plan: &Plan) -> Result<()> {
        plan_file::write(&self.plan_file(), plan)
    }
}

/// A cluster that `init` made.
pub(crate) struct Context {
    /// Its state directory.
    pub(crate) home: Home,
    /// Connections and decisions.
    pub(crate) world: World,
}

impl Context {
    /// The cluster of cluster.toml, as the last `init` planned it; hosts that are off are left out.
    pub(crate) async fn existing(global: &Global) -> Result<Self, Vec<Failure>> {
        Self::of_hosts(global, |plan| {
            Ok(plan.hosts.iter().map(|host| host.name.clone()).collect())
        })
        .await
        .map(|(context, _)| context)
    }

    /// The same with the hosts that `wanted` names only, and those of them that are off, with the reason.
    pub(super) async fn of_hosts(
        global: &Global,
        wanted: impl FnOnce(&Plan) -> Result<Vec<String>>,
    ) -> Result<(Self, Vec<Failure>), Vec<Failure>> {
        let mut config = load(global)?;
        let home = Home::of(&config.name).map_err(super::one)?;
        let (state, plan) = known(&home, &config.name)?;
        let wanted = wanted(&plan).map_err(super::one)?;
        config.hosts.retain(|host| wanted.contains(&host.name));
        let fleet = fleet::connect(&config, global).await?;
        let context = Self {
            home,
            world: World::new(plan, state.secrets, fleet.machines),
        };
        let absent = fleet.absent.into_iter().map(|(_, failure)| failure);
        Ok((context, absent.collect()))
    }

    /// The same for a command that acts, with its turn.
    pub(super) async fn acting(
        global: &Global,
        command: &str,
    ) -> Result<(Self, Turn), Vec<Failure>> {
        let config = load(global)?;
        let home = Home::of(&config.name).map_err(super::one)?;
        // Asked first, or a cluster that is not there would leave a directory with a lock in it.
        known(&home, &config.name)?;
        let here = Lock::take(home.path(), command).map_err(super::one)?;
        crate::log::begin(&home.logs(), command);
        let (mut state, plan) = known(&home, &config.name)?;
        let fleet = fleet::connect(&config, global).await?;
        let turn = Turn::take(here, &fleet, &config, command, &state, Some(&plan)).await;
        let turn = turn.map_err(super::one)?;
        let before = state.runs.clone();
        turn.record(&mut state);
        if state.runs != before {
            state.save(home.path()).map_err(super::one)?;
        }
        let world = World::new(plan, state.secrets, fleet.machines);
        Ok((Self { home, world }, turn))
    }
}

/// cluster.toml, or everything that is wrong with it.
pub(crate) fn load(global: &Global) -> Result<Config, Vec<Failure>> {
    config::load(&global.config)
        .map_err(|problems| problems.into_iter().map(Failure::from).collect())
}

/// State and plan of a cluster that was made from here.
pub(crate) fn known(home: &Home, cluster: &str) -> Result<(State, Plan), Vec<Failure>> {
    let state = State::open(home.path()).map_err(super::one)?;
    match (state, home.last_plan().map_err(super::one)?) {
        (Some(state), Some(mut plan)) => {
            plan.founded.clone_from(&state.decisions.founded);
            Ok((state, plan))
        }
        (Some(_), None) => Err(super::one(
            Failure::new(
                Code::LocalFile,
                format!("{} does not exist", home.plan_file().display()),
            )
            .because(format!("the state of {cluster} is here, and the plan of its last run is not"))
            .hint("slicer-k3s init --dry-run looks at the hosts; slicer-k3s init writes it again"),
        )),
        _ => Err(super::one(
            Failure::new(
                Code::Config,
                format!("no cluster called {cluster} was made from here"),
            )
            .hint("slicer-k3s init makes it; slicer-k3s import takes over one that another workstation made"),
        )),
    }
}
