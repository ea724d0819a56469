//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

use std::time::Instant;

use super::act::Act;
use super::context::Context;
use super::one;
use crate::cli::{Global, RotateToken};
use crate::failure::{Code, Failure, Result};
use crate::report::say;
use crate::secret::Secret;
use crate::state::State;
use crate::steps::{self, Options, Proof};

/// Runs it.
pub(super) async fn run(global: &Global, options: RotateToken) -> Result<u8, Vec<Failure>> {
    let started = Instant::now();
    let (mut context, turn) = Context::acting(global, "rotate-token").await?;
    let home = context.home.path().to_owned();
    let mut state = State::open(&home)
        .map_err(one)?
        .ok_or_else(|| one(Failure::new(Code::LocalFile, "the cluster's state is gone")))?;
    let (kind, new) = if let Some(host) = &options.slicer {
        let new = !state.secrets.retired.slicer.contains_key(host);
        if new {
            let old = slicer_token(&context, host).await.map_err(one)?;
            state.secrets.retired.slicer.insert(host.clone(), old);
        }
        (format!("Slicer token of {host}"), new)
    } else {
        let kind = if options.server { "server" } else { "agent" };
        let new = state.secrets.renew(options.server).map_err(one)?;
        (format!("{kind} token"), new)
    };
    // Recorded before it is used; an unfinished rotation is finished rather than followed by another.
    if new {
        state.save(&home).map_err(one)?;
        say(&format!(
            "A new {kind} is taken into use; what must restart does so in turn."
        ));
    } else {
        say(&format!(
            "A rotation of the {kind} was begun before: it is finished now."
        ));
    }
    context.world.secrets = state.secrets.clone();

    let plan = &context.world.plan;
    let all = Options {
        // Servers that restart in turn are no outage; daemons that do are.
        allow_outage: options.slicer.is_none() || options.allow_outage,
        ..Options::modest(context.home.kubeconfig())
    };
    let steps = steps::rotation::rotate(plan, &all, &state.secrets.retired);
    let act = Act {
        global,
        command: "rotate-token",
        started,
        turn: Some(&turn),
        absent: Vec::new(),
        likely_done: false,
    };
    act.run(&steps, &context.world).await?;
    state.secrets.retired = crate::state::Retired::default();
    state.save(&home).map_err(one)?;

    if options.skip_proof || plan.workers().next().is_none() {
        return Ok(0);
    }
    let proof = Proof {
        pods: 1,
        again: true,
    };
    let steps = steps::prove(plan, &[], proof);
    let act = Act {
        global,
        command: "rotate-token",
        started: Instant::now(),
        turn: Some(&turn),
        absent: Vec::new(),
        likely_done: false,
    };
    act.run(&steps, &context.world).await?;
    Ok(0)
}

/// The token that the host's daemons have now.
async fn slicer_token(context: &Context, host: &str) -> Result<Secret> {
    let daemon = context.world.plan.daemons_of(host).next().ok_or_else(|| {
        Failure::new(
            Code::Config,
            format!("no daemon of the cluster runs on {host}"),
        )
        .hint("slicer-k3s status lists its hosts")
    })?;
    Ok(context.world.slicer(daemon).await?.token)
}
