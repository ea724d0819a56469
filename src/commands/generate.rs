//! `slicer-k3s generate`: every file of the cluster into a directory, without touching a machine.

use std::time::SystemTime;

use super::context::{self, StateDir};
use super::folder;
use crate::cli::{Generate, Global};
use crate::config::Config;
use crate::failure::{Failures, Result};
use crate::plan::{self, Plan};
use crate::report;
use crate::state::{Lock, Secrets, State};

/// Runs it.
pub(super) fn run(global: &Global, options: &Generate) -> Result<u8, Failures> {
    let config = context::load(global)?;
    let home = StateDir::of(&config.name)?;
    let secrets = secrets(&config, &home)?;
    let plan = if let Some(plan) = home.last_plan()? {
        let mut plan = plan.with_those_back(|_| true);
        let state = State::open(home.path())?;
        plan.founded = state.and_then(|state| state.decisions.founded);
        report::say(&format!(
            "As the last run of init planned it{}.",
            if newer(global, &home) {
                ": cluster.toml was changed since, and only init looks at the hosts again (--dry-run shows what it would do)"
            } else {
                ""
            }
        ));
        plan
    } else {
        from_config_alone(&config, &home)?
    };
    let tree = crate::generate::tree(&plan, &secrets)?;
    folder::write(&options.out, &tree.files)?;
    for (name, how) in &tree.placeholders {
        report::say(&format!("{name}: {how}"));
    }
    for file in &tree.files {
        report::data(&format!("{}\n", options.out.join(&file.path).display()));
    }
    Ok(0)
}

/// The cluster's secrets; made and kept where there are none, so that `init` will use the same.
fn secrets(config: &Config, home: &StateDir) -> Result<Secrets> {
    if let Some(state) = State::open(home.path())? {
        return Ok(state.secrets);
    }
    let _lock = Lock::take(home.path(), "generate")?;
    let state = State::create(&config.name)?;
    state.save(home.path())?;
    Ok(state.secrets)
}

/// Whether cluster.toml was written after the last plan.
fn newer(global: &Global, home: &StateDir) -> bool {
    let written = |path: &std::path::Path| -> Option<SystemTime> {
        fs_err::metadata(path).ok()?.modified().ok()
    };
    written(&global.config) > written(&home.plan_file())
}

/// A plan of assumptions. It is not kept: looking at the hosts may decide otherwise.
fn from_config_alone(config: &Config, home: &StateDir) -> Result<Plan, Failures> {
    let decisions =
        State::open(home.path())?.map_or_else(plan::Decisions::default, |state| state.decisions);
    let (facts, words) = plan::assumed(config)?;
    let version = config
        .k3s
        .version
        .clone()
        .unwrap_or_else(|| format!("channel {}", config.k3s.channel));
    let mut plan = plan::decide(config, &decisions, &facts, &[], &version)?;
    // The reasons speak of what was seen, and nothing was.
    plan.reasons = vec![("not looked at".to_owned(), words)];
    report::say(&report::plan(&plan));
    Ok(plan)
}
