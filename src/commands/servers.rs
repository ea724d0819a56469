//! Before `init` writes anything: are the servers one cluster, and how has each to start?

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ask;
use super::context::Home;
use crate::cli::Init;
use crate::config::Config;
use crate::control_plane::{self, ControlPlane, Judgement, Observed};
use crate::failure::{Code, Failure, Result};
use crate::kubeconfig;
use crate::plan::{Decisions, Founded, HostFacts, Mark, Plan, Server};
use crate::secret::sha256;
use crate::state;
use crate::world::World;

/// How long what passes by itself is waited for: etcd's member lists differ while a member comes or goes.
const PASSES: Duration = Duration::from_secs(20);

/// The cluster that is on record for this configuration.
pub(super) fn on_record(
    home: &Home,
    config: &Config,
    decisions: &Decisions,
    facts: &[HostFacts],
) -> Result<Option<Founded>> {
    let marks = facts.iter().filter_map(|host| {
        let text = host.mark(&config.name)?;
        Some(Mark::read(&host.name, &config.name, text))
    });
    let marks = marks.collect::<Result<Vec<_>>>()?;
    let destroyed: BTreeSet<String> = state::destroyed(&config.name)?;
    let recorded = control_plane::recorded(decisions, &marks, &destroyed)?;
    let obeyed = |ca: &String| !destroyed.contains(ca) && !decisions.given_up.contains(ca);
    // Earlier releases kept no record, but the kubeconfig of what they had founded.
    Ok(recorded.or_else(|| {
        let ca = ca_of(&home.kubeconfig()).filter(obeyed)?;
        let voters = BTreeSet::new();
        Some(Founded { ca, voters })
    }))
}

/// The hash of the CA that a kubeconfig names.
fn ca_of(kubeconfig: &Path) -> Option<String> {
    let text = fs_err::read_to_string(kubeconfig).ok()?;
    let config = kubeconfig::parse(&text, "").ok()?;
    let ca = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str()?;
    let ca = STANDARD.decode(ca.trim()).ok()?;
    Some(sha256(&ca))
}

/// Asks all servers that were not just `seen`; nothing is changed. `new`: the cluster was never made.
pub(super) async fn survey(
    world: &World,
    options: &Init,
    mut seen: Option<Vec<(Server, Observed)>>,
    new: bool,
) -> Result<ControlPlane> {
    named(options, &world.plan)?;
    let begin = Instant::now();
    loop {
        let seen = match seen.take() {
            Some(seen) => seen,
            None => control_plane::ask_all(world, new).await,
        };
        let judgement = if options.force_new_cluster.is_some() {
            control_plane::judge_new(&world.plan, &seen)
        } else {
            control_plane::judge(&world.plan, &seen, &options.give_up)
        };
        match judgement {
            Judgement::Clear(control_plane) => return Ok(control_plane),
            Judgement::Refused(refusal) if refusal.passes && begin.elapsed() < PASSES => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Judgement::Refused(refusal) => {
                return Err(control_plane::describe(world, *refusal).await);
            }
        }
    }
}

/// Data is given up by name only.
fn named(options: &Init, plan: &Plan) -> Result<()> {
    let wrong = |what: String| Err(Failure::new(Code::Config, what));
    if let Some(name) = &options.force_new_cluster
        && *name != plan.cluster
    {
        return wrong(format!(
            "--force-new-cluster names {name}, and this cluster is {}",
            plan.cluster
        ));
    }
    let known = |name: &String| plan.servers.iter().any(|server| server.name == *name);
    match options.give_up.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            let servers: Vec<&str> = plan.servers.iter().map(|server| &*server.name).collect();
            wrong(format!(
                "--give-up names {name}, which is no server of {}: there are {}",
                plan.cluster,
                servers.join(", ")
            ))
        }
    }
}

/// Whoever gives data up types its name once more on a terminal; in a script the flag names it.
pub(super) fn consent(options: &Init, control_plane: &ControlPlane) -> Result<()> {
    if options.making.yes || control_plane.set_aside.is_empty() {
        return Ok(());
    }
    let (what, name) = match (&options.force_new_cluster, options.give_up.as_slice()) {
        (Some(cluster), _) => ("cluster's name", cluster.clone()),
        (None, servers) => ("names of the servers that are given up", servers.join(" ")),
    };
    let declined = Failure::new(Code::Declined, "nothing was changed");
    match ask::line(&format!("Type the {what} to go on ({name}):")) {
        None => Err(declined
            .because("there is no terminal to ask on")
            .hint("read the plan above and run again with --yes")),
        Some(answer) if answer == name => Ok(()),
        Some(_) => Err(declined.because(format!("the {what} would be: {name}"))),
    }
}
