//! `slicer-k3s status [--watch]`: one picture, and what drifted.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::context::{self, Settings, StateDir, key_policy};
use super::turn;
use crate::cli::{Global, Output, Status as Options};
use crate::config::{Config, Problem};
use crate::escape::escape;
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet::{self, Fleet};
use crate::plan::Plan;
use crate::remote::ssh;
use crate::state::State;
use crate::status::{self, Asked, NotSeen, Status, Waiting};
use crate::stop::{self, Requests};
use crate::{report, steps};

/// Exit code where something drifted.
const DRIFT: u8 = 4;

/// Exit code where not all could be looked at.
const UNSEEN: u8 = 1;

/// What is seen sooner needs no word of who is waited for.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// What stays the same from look to look.
struct Known {
    config: Config,
    mistakes: Vec<Problem>,
    plan: Plan,
    state: State,
    options: steps::Options,
}

/// Runs it.
pub(super) async fn run(global: &Global, options: &Options) -> Result<u8, Failures> {
    let settings = Settings::read(global)?;
    let home = StateDir::of(&settings.config.name)?;
    let (state, plan) = context::known(&home, &settings.config.name)?;
    let known = Known {
        config: settings.config.clone(),
        mistakes: settings.mistakes.clone(),
        plan,
        state,
        options: home.read_only(),
    };
    let fleet = fleet::connect_available(&known.config, &key_policy(global)).await;
    if options.watch {
        return watch(global, options, &known, fleet)
            .await
            .map_err(Failures::from);
    }
    let seen = Box::pin(look(&known, &fleet)).await;
    tell(global.output, &seen, false)?;
    let nothing = fleet.machines.is_empty();
    let absent = fleet.absent.into_iter().map(|(_, failure)| failure);
    let absent: Failures = absent.collect();
    if nothing && settings.mistakes.is_empty() {
        return Err(absent);
    }
    if nothing {
        report::failures(&absent, global.output);
    }
    Ok(if settings.name_mistakes() {
        Code::Config.exit_code()
    } else if seen.hosts.iter().any(|host| !host.answers) {
        UNSEEN
    } else if seen.drift.is_empty() {
        0
    } else {
        DRIFT
    })
}

/// Looks again and again until it is told to stop, which is how it ends: nothing is to be said of that.
async fn watch(global: &Global, options: &Options, known: &Known, mut fleet: Fleet) -> Result<u8> {
    let _mine = stop::answer_myself().await;
    let mut requests = Requests::listen();
    let looks = async {
        loop {
            let seen = Box::pin(look(known, &fleet)).await;
            // On a screen each look takes the place of the one before.
            if global.output == Output::Human && std::io::stdout().is_terminal() {
                report::data("\u{1b}[H\u{1b}[2J\u{1b}[3J");
            }
            tell(global.output, &seen, true)?;
            tokio::time::sleep(Duration::from_secs(options.every)).await;
            // Whoever declined a question is not asked it again at each look.
            ssh::unasked(fleet.connect_within(&known.config, &key_policy(global))).await;
        }
    };
    tokio::select! {
        failure = looks => failure,
        request = requests.next() => Ok(request.exit_code()),
    }
}

/// One look, over the hosts' connections that are there; servers are connected to anew, for a VM may be another by now.
async fn look(known: &Known, fleet: &Fleet) -> Status {
    let world = fleet.world(known.plan.clone(), known.state.secrets.in_use());
    let absent = fleet.reasons();
    let not_seen: Vec<(String, NotSeen)> = fleet
        .absent
        .iter()
        .map(|(name, failure)| (name.clone(), NotSeen::from(failure)))
        .collect();
    let waiting = Waiting::default();
    let asked = Asked {
        config: &known.config,
        decisions: &known.state.decisions,
        options: &known.options,
        absent: &absent,
        not_seen: &not_seen,
        waiting: &waiting,
    };
    let control_plane = known.config.control_plane.hosts.iter();
    let control_plane = control_plane.filter_map(|name| fleet.machines.get(name));
    let looks = async {
        tokio::join!(
            status::gather(&asked, &world),
            fleet::newest_note(control_plane, &known.config.name)
        )
    };
    let say = |text: &str| {
        if std::io::stderr().is_terminal() {
            report::say(&escape(text));
        }
    };
    let looks = Box::pin(looks);
    let (mut seen, noted) = waiting.told(SIGN_OF_LIFE, say, looks).await;
    seen.elsewhere = match noted {
        Ok(note) => turn::news(&known.state, note.as_ref()),
        // What is on the way there is reported of the host.
        Err(failure) => Some(failure).filter(|failure| failure.code == Code::RecordConflict),
    };
    seen.mistakes.clone_from(&known.mistakes);
    seen.rotation = known.state.secrets.unfinished_rotation();
    status::compare(&known.plan, &seen)
}

/// Text, or the document: one line each where more will follow.
fn tell(output: Output, seen: &Status, more: bool) -> Result<()> {
    if output == Output::Human {
        report::data(&report::plain(&status::render(seen)));
        return Ok(());
    }
    let document = if more {
        serde_json::to_string(seen)
    } else {
        serde_json::to_string_pretty(seen)
    };
    let document = document.map_err(|error| {
        Failure::new(Code::LocalFile, "cannot write the document").because(error)
    })?;
    report::data(&format!("{document}\n"));
    Ok(())
}
