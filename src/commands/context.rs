//! What commands begin with: cluster.toml, the state directory, connected hosts.

use std::path::{Path, PathBuf};

use super::turn::{Here, RunLock};
use super::{config_file, missing, plan_file};
use crate::cli::{Consent, Global, Output};
use crate::config::{self, Config, Problem};
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet::{self, Fleet};
use crate::plan::Plan;
use crate::remote::ssh::KeyPolicy;
use crate::state::{self, State};
use crate::world::World;
use crate::{report, steps};

/// The cluster's state directory and what lies in it.
pub(crate) struct StateDir(PathBuf);

impl StateDir {
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
    pub(crate) fn read_only(&self) -> steps::Options {
        steps::Options::read_only(self.0.clone(), self.kubeconfig())
    }

    /// This workstation's lock for a command that changes something, and its log; neither for one that only looks.
    pub(super) fn begin(&self, command: &str, consent: Consent) -> Result<Option<Here>> {
        if consent.dry_run {
            return Ok(None);
        }
        Here::take(self, command).map(Some)
    }

    /// Where the logs of runs are kept.
    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The plan of the last run that began to act: what commands on an existing cluster go by.
    pub(crate) fn plan_file(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// That plan as it is recorded, where there is one. A file that cannot be read, or that a newer release wrote, is a failure.
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

    /// Keeps a plan, with what the last one says of hosts that are off now: they are in the cluster all the same.
    pub(crate) fn keep_plan(&self, plan: &Plan) -> Result<()> {
        let path = self.plan_file();
        let last = plan_file::read(&path).ok().flatten();
        let whole = last.map(|last| plan.with_absent_of(&last));
        plan_file::write(&path, whole.as_ref().unwrap_or(plan))
    }

    /// cluster.toml as the last run read it.
    fn config_file(&self) -> PathBuf {
        self.0.join("config.json")
    }

    /// Where the cluster.toml was that the last run read, if that is on record.
    pub(super) fn config_place(&self) -> Option<PathBuf> {
        config_file::place(&self.config_file())
    }

    /// That cluster.toml, where it and the plan that was made from it are on record.
    fn last_config(&self, cluster: &str) -> Option<Config> {
        known(self, cluster).ok()?;
        config_file::read(&self.config_file()).filter(|config| config.name == cluster)
    }

    /// Keeps a plan and the cluster.toml at `file` that it was made from.
    pub(crate) fn keep(&self, plan: &Plan, file: &Path, config: &Config) -> Result<()> {
        self.keep_plan(plan)?;
        self.keep_config(file, config)
    }

    /// Keeps the cluster.toml at `file`, which says what this run goes by.
    pub(crate) fn keep_config(&self, file: &Path, config: &Config) -> Result<()> {
        config_file::keep(&self.config_file(), file, config)
    }
}

/// What a command goes by that must work while cluster.toml is wrong.
pub(crate) struct Settings {
    /// cluster.toml; where it is wrong, what the last run went by.
    pub(crate) config: Config,
    /// What is wrong with cluster.toml.
    pub(crate) mistakes: Vec<Problem>,
}

impl Settings {
    /// Reads cluster.toml. Where it is wrong and nothing is on record of the cluster that it names: everything that is wrong
    /// with it.
    pub(crate) fn read(global: &Global) -> Result<Self, Failures> {
        match config::load(&global.config) {
            Ok(config) => Ok(Self {
                config,
                mistakes: Vec::new(),
            }),
            Err(mistakes) => match last_config(&global.config) {
                Some(config) => Ok(Self { config, mistakes }),
                None => Err(missing::or_wrong(&global.config, mistakes)),
            },
        }
    }

    /// Names what is wrong with cluster.toml on stderr, last; whether anything is.
    pub(crate) fn name_mistakes(&self) -> bool {
        let failures: Failures = self.mistakes.iter().cloned().map(Failure::from).collect();
        if failures.is_empty() {
            return false;
        }
        report::say("cluster.toml is wrong; this went by what the last run read:");
        report::failures(&failures, Output::Human);
        true
    }
}

/// What the last run read of the cluster that a wrong cluster.toml names, where that and its plan are on record.
fn last_config(file: &Path) -> Option<Config> {
    let name = config::name_in(&fs_err::read_to_string(file).ok()?)?;
    StateDir::of(&name).ok()?.last_config(&name)
}

/// A cluster that `init` made.
pub(crate) struct Context {
    /// Its state directory.
    pub(crate) home: StateDir,
    /// Connections and decisions.
    pub(crate) world: World,
}

impl Context {
    /// The cluster of a cluster.toml, as the last `init` planned it, with the hosts that `wanted` names only; and those of them that
    /// are off, with the reason.
    pub(super) async fn of_hosts(
        global: &Global,
        mut config: Config,
        wanted: impl FnOnce(&Plan) -> Result<Vec<String>>,
    ) -> Result<(Self, Failures), Failures> {
        let home = StateDir::of(&config.name)?;
        let (state, plan) = known(&home, &config.name)?;
        let wanted = wanted(&plan)?;
        config.hosts.retain(|host| wanted.contains(&host.name));
        let fleet = fleet::connect(&config, &key_policy(global)).await?;
        let context = Self {
            home,
            world: fleet.world(plan, state.secrets),
        };
        let absent = fleet.absent.into_iter().map(|(_, failure)| failure);
        Ok((context, absent.collect()))
    }

    /// The same for a command that acts, with its turn; one that is only to look takes none, and writes nothing here either.
    pub(super) async fn acting(
        global: &Global,
        command: &str,
        consent: Consent,
    ) -> Result<(Self, Option<RunLock>), Failures> {
        let config = load(global)?;
        let home = StateDir::of(&config.name)?;
        // Asked first, or a cluster that is not there would leave a directory with a lock in it.
        known(&home, &config.name)?;
        let here = home.begin(command, consent)?;
        let (mut state, plan) = recorded(&home, &config.name)?;
        let fleet = fleet::connect(&config, &key_policy(global)).await?;
        // What was off during the last run and still is keeps no one waiting.
        let plan = plan.with_those_back(|host| fleet.machines.contains_key(host));
        let turn = turn(here, &fleet, &config, command, &state, Some(&plan)).await;
        let turn = turn?;
        if let Some(turn) = &turn {
            let before = state.runs.clone();
            turn.record(&mut state).await?;
            if state.runs != before {
                state.save(home.path())?;
            }
        }
        let world = fleet.world(plan, state.secrets);
        Ok((Self { home, world }, turn))
    }
}

/// The turn of a run that has this workstation's lock (see [`RunLock::take`]); none for one that only looks.
pub(super) async fn turn(
    here: Option<Here>,
    fleet: &Fleet,
    config: &Config,
    command: &str,
    state: &State,
    last: Option<&Plan>,
) -> Result<Option<RunLock>> {
    let Some(here) = here else {
        return Ok(None);
    };
    let turn = RunLock::take(here, fleet, config, command, state, last).await;
    turn.map(Some)
}

/// cluster.toml, or everything that is wrong with it.
pub(crate) fn load(global: &Global) -> Result<Config, Failures> {
    config::load(&global.config).map_err(|problems| missing::or_wrong(&global.config, problems))
}

/// State and plan of a cluster that was made from here, hosts included that were off during the last run.
pub(crate) fn known(home: &StateDir, cluster: &str) -> Result<(State, Plan), Failures> {
    let (state, plan) = recorded(home, cluster)?;
    Ok((state, plan.with_those_back(|_| true)))
}

/// The same with the plan as it is recorded.
fn recorded(home: &StateDir, cluster: &str) -> Result<(State, Plan), Failures> {
    let state = State::open(home.path())?;
    match (state, home.last_plan()?) {
        (Some(state), Some(mut plan)) => {
            plan.founded.clone_from(&state.decisions.founded);
            Ok((state, plan))
        }
        (Some(_), None) => Err(Failure::new(
            Code::LocalFile,
            format!("{} does not exist", home.plan_file().display()),
        )
        .because(format!(
            "the state of {cluster} is here, and the plan of its last run is not"
        ))
        .hint("slicer-k3s init --dry-run looks at the hosts; slicer-k3s init writes it again")
        .into()),
        _ => Err(Failure::new(
            Code::Config,
            format!("no cluster called {cluster} was made from here"),
        )
        .hint(
            "slicer-k3s init makes it; slicer-k3s import takes over one that another \
                 workstation made",
        )
        .into()),
    }
}

/// What to do about host keys that are not known yet.
pub(super) fn key_policy(global: &Global) -> KeyPolicy {
    KeyPolicy {
        accept_new: global.accept_new_host_keys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    const TEXT: &str = "name = \"home\"\n[hosts.n100]\nssh = \"alex@192.168.1.11\"\n";

    /// A state directory in which a run has left its records, and the cluster.toml that it read.
    fn run(directory: &Path) -> (StateDir, PathBuf) {
        let home = StateDir(directory.join("state"));
        State::create("home").unwrap().save(home.path()).unwrap();
        home.keep_plan(&plan()).unwrap();
        let file = directory.join("cluster.toml");
        fs_err::write(&file, TEXT).unwrap();
        (home, file)
    }

    /// An inconsistent cluster.toml kept people from their logs in the middle of trouble.
    #[test]
    fn what_the_last_run_read_stands_in_where_it_and_its_plan_are_on_record() {
        let directory = tempfile::tempdir().unwrap();
        let (home, file) = run(directory.path());
        assert!(home.last_config("home").is_none(), "of an earlier release");
        let config = config::load(&file).unwrap();
        home.keep_config(&file, &config).unwrap();
        assert_eq!(home.last_config("home"), Some(config));
        assert!(home.last_config("away").is_none(), "another cluster's");
        fs_err::remove_file(home.plan_file()).unwrap();
        assert!(home.last_config("home").is_none(), "no plan");
    }

    /// `status` called it "not yet in the cluster", and its servers had no group.
    #[test]
    fn a_host_that_was_off_during_a_run_is_known_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let (home, _) = run(directory.path());
        let mut without = plan();
        without.absent = vec![("n100".into(), "it is off".into())];
        without.hosts.retain(|host| host.name != "n100");
        without.daemons.retain(|daemon| daemon.host != "n100");
        for _ in 0..2 {
            home.keep_plan(&without).unwrap();
            let (_, known) = known(&home, "home").unwrap();
            assert_eq!(known, plan());
            assert!(known.daemon(&known.servers[0].group).is_some());
        }
    }
}
