//! `slicer-k3s prove [GROUP …] [--pods N]`: scaling, shown again.

use std::time::Instant;

use super::Context;
use super::act::{self, Act};
use super::consent::Prospect;
use crate::cli::{Global, Prove};
use crate::failure::{Code, Failure, Failures, Result};
use crate::plan::Plan;
use crate::steps;

/// Runs it.
pub(super) async fn run(global: &Global, options: Prove) -> Result<u8, Failures> {
    let started = Instant::now();
    let (context, turn) = Context::acting(global, "prove", options.consent).await?;
    let plan = &context.world.plan;
    let known: Vec<&str> = plan.workers().map(|daemon| daemon.group.as_str()).collect();
    can_prove(plan, &known, &options)?;
    let text = what_happens(&options, &known);
    let instead = "slicer-k3s status shows what runs where";
    let prospect = Prospect::of(&text, instead);
    prospect.agree(options.consent).await?;
    let steps = steps::prove(
        plan,
        &options.groups,
        steps::Proof {
            pods: options.pods,
            again: true,
        },
        false,
    );
    let act = Act {
        global,
        command: "prove",
        started,
        turn: turn.as_ref(),
        absent: Vec::new(),
        likely_done: false,
    };
    let ended = act.run(&steps, &context.world).await?;
    Ok(match turn {
        Some(_) => 0,
        None => act::would_change(&ended),
    })
}

/// What a proof does to the cluster.
fn what_happens(options: &Prove, known: &[&str]) -> String {
    let groups = if options.groups.is_empty() {
        known.join(", ")
    } else {
        options.groups.join(", ")
    };
    let pods = match options.pods {
        1 => "One pod is started".to_owned(),
        pods => format!("{pods} pods are started"),
    };
    format!(
        "{pods} in each of these groups: {groups}\n\
         Each takes a new VM, and the VMs are removed again when the pods are gone."
    )
}

/// Refuses groups that are not there, and more pods than a group may have VMs.
fn can_prove(plan: &Plan, known: &[&str], options: &Prove) -> Result<()> {
    if let Some(unknown) = options
        .groups
        .iter()
        .find(|group| !known.contains(&group.as_str()))
    {
        return Err(
            Failure::new(Code::Config, format!("no worker group is called {unknown}"))
                .hint(format!("groups: {}", known.join(", "))),
        );
    }
    let chosen = plan
        .workers()
        .filter(|daemon| options.groups.is_empty() || options.groups.contains(&daemon.group));
    if let Some(small) = chosen.into_iter().find(|daemon| daemon.max < options.pods) {
        return Err(Failure::new(
            Code::Config,
            format!("{} pods do not fit {}", options.pods, small.group),
        )
        .because(format!(
            "each takes a VM of its own, and it may have {}",
            small.max
        ))
        .hint(format!(
            "slicer-k3s prove {} --pods {}",
            small.group, small.max
        )));
    }
    Ok(())
}
