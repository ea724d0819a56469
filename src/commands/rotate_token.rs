//! `slicer-k3s rotate-token`: a new join token, in use everywhere, the old one refused.

use std::time::Instant;

use super::act::Act;
use super::context::Context;
use super::one;
use crate::cli::{Global, RotateToken};
use crate::failure::{Code, Failure, Result};
use crate::report::say;
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
    let kind = if options.server { "server" } else { "agent" };
    // Recorded before it is used; an unfinished rotation is finished rather than followed by another.
    if state.secrets.renew(options.server).map_err(one)? {
        state.save(&home).map_err(one)?;
        say(&format!(
            "The new {kind} token is recorded; the servers are restarted in turn."
        ));
    } else {
        say(&format!(
            "A rotation of the {kind} token was begun before: it is finished now."
        ));
    }
    context.world.secrets = state.secrets.clone();

    let plan = &context.world.plan;
    let all = Options {
        install_slicer: false,
        accept_slicer_licence: false,
        allow_outage: true,
        workstation_route: false,
        kubeconfig: context.home.kubeconfig(),
        proof: None,
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
