//! `slicer-k3s init`: from bare hosts to a proven autoscaler.

mod rotation;

use std::time::Instant;

use super::act::{self, Act};
use super::consent::Prospect;
use super::context::{self, StateDir};
use super::first_contact::{self, CHANGE_THE_FLAGS};
use super::turn::{Here, RunLock};
use super::{last_words, servers};
use crate::cli::{ApplyArgs, Global, Init};
use crate::control_plane::{self, ControlPlane, Observed, Versions};
use crate::escape::escape;
use crate::failure::{Code, Failure, Failures, Result};
use crate::fleet::{self, Fleet};
use crate::plan::{self, Autoscaler, Plan, Server};
use crate::remote::{ImageTag, Probe};
use crate::state::State;
use crate::steps;
use crate::steps::{local_data, outages};
use crate::world::World;
use crate::{config::Config, kubeconfig, report};

/// What to do with a plan that is not as wanted.
pub(super) const CHANGE_THE_FILE: &str = "change cluster.toml and run again";

/// Runs it.
pub(super) async fn run(global: &Global, options: Init) -> Result<u8, Failures> {
    let started = Instant::now();
    let mut first = first_contact::config(global, &options).await?;
    let config = first.config.clone();
    let home = StateDir::of(&config.name)?;
    let consent = options.making.consent;
    let here = home.begin("init", consent)?;
    let mut state = match State::open(home.path())? {
        Some(state) => state,
        None => State::create(&config.name)?,
    };
    let fleet = first.connect(global).await?;
    let last = home.last_plan()?;
    // As the last run went by it: who was off then is looked at like a new host.
    let last = last.map(|plan| plan.with_those_back(|_| false));
    let then = last.clone();
    let by_last = then.map(|plan| fleet.world(plan, state.secrets.clone()));
    // All at once: what the Internet says depends on nothing that is seen here.
    let (facts, turn, version, digest) = tokio::join!(
        fleet::survey(&fleet),
        take_turn(here, &fleet, &config, &state, by_last.as_ref()),
        k3s_version(&config, &state, &fleet),
        image_digest(&config, &state, &fleet)
    );
    let (turn, seen) = turn?;
    let facts = facts?;
    let version = version?;
    if let Some((image, digest)) = digest {
        state.decisions.image_digests.insert(image, digest);
    }
    let absent = fleet.reasons();
    let new_cluster = state.decisions.servers.is_empty();
    state.decisions.founded = servers::on_record(&home, &config, &state.decisions, &facts)?;
    let unversioned = servers::without_version(&config, &state.decisions);
    let plan = plan::decide(&unversioned, &state.decisions, &facts, &absent, &version)?;
    // What was seen of servers that are planned otherwise now says nothing.
    let seen = seen.filter(|_| {
        last.as_ref()
            .is_some_and(|last| last.servers == plan.servers)
    });
    let mut world = match by_last {
        Some(world) => world.replanned(plan),
        None => fleet.world(plan, state.secrets.clone()),
    };
    let new_cluster = new_cluster && world.plan.founded.is_none();
    let mut wanted = wanted(&options, &home);
    let (control_plane, versions) = servers::survey(&world, &options, seen, new_cluster).await?;
    servers::take_over(&mut world.plan, &config, &versions)?;
    accept(&mut state, &mut world.plan, &control_plane);
    let later = rotation::begin_or_leave(&mut world).await;
    let (outages, loss) = tokio::join!(
        outages::of_init(&world, &wanted, &control_plane),
        local_data::of_init(&world, &wanted, &control_plane)
    );
    let new = show(last.as_ref(), &world.plan, &control_plane, &versions);
    if turn.is_some() {
        may_begin(&world, &world.plan, &wanted).await?;
    }
    let instead = if first.is_kept() {
        CHANGE_THE_FILE
    } else {
        CHANGE_THE_FLAGS
    };
    let prospect = Prospect {
        outages: &outages,
        allow_outage: options.allow_outage,
        asks: new,
        ..Prospect::of("", instead).losing(&loss, options.delete_local_data)
    };
    agree(&options, &prospect, &control_plane).await?;
    // What was allowed is what was shown.
    wanted.silent = outages.silent;
    if let Some(turn) = &turn {
        state.decisions = world.plan.decisions(&state.decisions);
        turn.record(&mut state).await?;
        first.write()?;
        state.save(home.path())?;
        home.keep(&world.plan, &global.config, &config)?;
    }
    let steps = steps::init(&world.plan, &wanted, &control_plane, &world.secrets);
    let act = Act {
        global,
        command: "init",
        started,
        turn: turn.as_ref(),
        absent: fleet.absent,
        likely_done: !new,
    };
    let ended = act.run(&steps, &world).await?;
    if consent.dry_run {
        return Ok(act::would_change(&ended));
    }
    rotation::settle(&world, &home, later)?;
    drop(turn);
    if options.merge {
        merge(&options, &world.plan, &home)?;
    }
    report::say(&last_words::after_init(&world.plan, &home, &ended));
    Ok(0)
}

/// Asks for what has to be agreed to: the plan, and what is given up for it.
async fn agree(
    options: &Init,
    prospect: &Prospect<'_>,
    control_plane: &ControlPlane,
) -> Result<(), Failures> {
    prospect.agree(options.making.consent).await?;
    if prospect.asks {
        servers::consent(options, control_plane).await?;
    }
    Ok(())
}

/// What the steps are asked for by flags.
fn wanted(options: &Init, home: &StateDir) -> steps::Options {
    steps::Options {
        allow_outage: options.allow_outage,
        delete_local_data: options.delete_local_data,
        workstation_route: options.workstation_route,
        ..asked_for(&options.making, home)
    }
}

/// Takes the turn, and asks the servers what they hold as soon as nobody else can change it any more. Connections are made
/// meanwhile.
async fn take_turn(
    here: Option<Here>,
    fleet: &Fleet,
    config: &Config,
    state: &State,
    by_last: Option<&World>,
) -> Result<(Option<RunLock>, Option<Vec<(Server, Observed)>>)> {
    let last = by_last.map(|world| &world.plan);
    let turn = context::turn(here, fleet, config, "init", state, last);
    let Some(world) = by_last else {
        return turn.await.map(|turn| (turn, None));
    };
    let (turn, ()) = tokio::join!(turn, control_plane::connect_all(world));
    let turn = turn?;
    Ok((turn, Some(control_plane::ask_all(world, false).await)))
}

/// Shows the plan where it, or what has to be agreed to, is not what it was; whether that is so.
fn show(
    last: Option<&Plan>,
    plan: &Plan,
    control_plane: &ControlPlane,
    versions: &Versions,
) -> bool {
    let remarks = control_plane.remarks();
    let new = last != Some(plan) || !remarks.is_empty();
    if new {
        let mut shown = plan.clone();
        shown.reasons.extend(remarks);
        shown.reasons.extend(versions.remarks());
        report::say(&report::plan(&shown));
    } else {
        // Nothing that has to be agreed to.
        for (server, what) in versions.remarks() {
            report::say(&format!("note: {server}: {what}"));
        }
    }
    new
}

/// Takes over what the servers say of their cluster. One that a new cluster replaces is given up: a mark on a host that is
/// off must not bring it back.
fn accept(state: &mut State, plan: &mut Plan, control_plane: &ControlPlane) {
    let before = plan.founded.take();
    plan.founded.clone_from(&control_plane.founded);
    state.decisions.founded.clone_from(&control_plane.founded);
    let now = plan.founded.as_ref().map(|founded| &founded.ca);
    let given_up = &mut state.decisions.given_up;
    given_up.extend(before.map(|before| before.ca));
    given_up.retain(|ca| Some(ca) != now);
}

/// The version decided once, else the one asked for, else the channel's, resolved on a host.
async fn k3s_version(config: &Config, state: &State, fleet: &Fleet) -> Result<String> {
    if let Some(version) = &config.k3s.version {
        return Ok(version.clone());
    }
    if let Some(version) = &state.decisions.k3s_version {
        return Ok(version.clone());
    }
    let mut last = Failure::new(Code::SshUnreachable, "no host of the control plane answers");
    for host in &config.control_plane.hosts {
        let Some(machine) = fleet.machines.get(host) else {
            let absent = fleet.absent.iter().find(|(name, _)| name == host);
            last = absent.map_or(last, |(_, failure)| failure.clone());
            continue;
        };
        let output = machine
            .probe(&Probe::Channel(config.k3s.channel.clone()))
            .await?;
        match crate::k3s::version_of(output.stdout.trim()) {
            Some(version) => return Ok(version),
            None => {
                last = Failure::new(
                    Code::K3sInstall,
                    format!(
                        "{host} cannot ask update.k3s.io for the k3s channel {}",
                        config.k3s.channel
                    ),
                )
                .because(output.last_words())
                .hint("check the host's Internet access, or set k3s.version in cluster.toml");
            }
        }
    }
    Err(last)
}

/// The autoscaler's image with its digest, where it is not decided yet and a host can find it out. One that cannot be
/// resolved keeps nobody waiting: the plan says that the tag is not pinned.
async fn image_digest(config: &Config, state: &State, fleet: &Fleet) -> Option<(String, String)> {
    let wanted = &config.autoscaler;
    let image = Autoscaler::reference(&wanted.image, &wanted.tag);
    if config.hosts.iter().all(|host| host.workers.is_none())
        || state.decisions.image_digests.contains_key(&image)
    {
        return None;
    }
    let probe = Probe::ImageDigest(ImageTag::new(&wanted.image, &wanted.tag));
    for host in &config.control_plane.hosts {
        let Some(machine) = fleet.machines.get(host) else {
            continue;
        };
        match machine.probe(&probe).await {
            Ok(output) if output.ok() => return Some((image, output.stdout.trim().to_owned())),
            Ok(output) => report::say(&format!(
                "note: {host} cannot resolve {image} to a digest: {}",
                escape(output.last_words())
            )),
            Err(failure) => {
                let words = escape(&failure.to_string());
                report::say(&format!("note: {host}: {words}"));
            }
        }
    }
    None
}

/// Refuses, before anything is changed anywhere, what could not end well on the hosts of this part of the plan, and shows
/// what the installation of Slicer would overwrite there.
pub(super) async fn may_begin(
    world: &World,
    part: &Plan,
    wanted: &steps::Options,
) -> Result<(), Failures> {
    let mut refused = steps::slicer_refusals(part, wanted);
    refused.extend(steps::licence_refusals(part));
    if !refused.is_empty() {
        return Err(refused);
    }
    let overwritten = steps::slicer_overwrites(world, part).await?;
    if !overwritten.is_empty() {
        report::say(&overwritten);
    }
    Ok(())
}

/// What the steps that make hosts part of a cluster are asked for by flags.
pub(super) fn asked_for(making: &ApplyArgs, home: &StateDir) -> steps::Options {
    steps::Options {
        install_slicer: making.install_slicer,
        accept_slicer_licence: making.accept_slicer_licence,
        proof: (!making.skip_proof).then_some(steps::Proof {
            pods: 1,
            again: false,
        }),
        ..home.read_only()
    }
}

/// Merges the cluster's kubeconfig into the user's.
fn merge(options: &Init, plan: &Plan, home: &StateDir) -> Result<()> {
    let ours = home.kubeconfig();
    let text = fs_err::read_to_string(&ours).map_err(|error| {
        Failure::new(Code::LocalFile, "the cluster's kubeconfig was not written").because(error)
    })?;
    let name = options.context.as_deref().unwrap_or(&plan.cluster);
    let config = kubeconfig::parse(&text, &ours.display().to_string())?;
    let server = config["clusters"][0]["cluster"]["server"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let config = kubeconfig::rename(config, name, &server)?;
    kubeconfig::merge_into(&kubeconfig::users_file()?, &config).map(drop)
}
