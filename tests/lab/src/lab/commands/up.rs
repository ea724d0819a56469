//! `lab up`: builds what is missing, then makes a fleet.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::down::take_down;
use crate::cache::{binaries, debian};
use crate::cli::Up;
use crate::exec::{command, output};
use crate::fleet::{Fleet, Host, check_name};
use crate::machine::{furnish, start};
use crate::place::Place;
use crate::state::{Machine, Role, State};
use crate::{address, inotify, network, preconditions, say};

/// A machine boots in 2 s; a machine under a full build took 8.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds, as the caller, what machines are filled with.
pub(crate) fn build(options: &Up, place: &Place) -> Result<()> {
    // A typo shall not cost a build.
    Fleet::read(&Place::fleets(), &options.fleet)?;
    if preconditions::prepared() {
        return Ok(());
    }
    preconditions::before_building(place)?;
    binaries::slicer().map(drop)
}

/// Makes the fleet.
pub(crate) fn run(options: &Up, place: &Place) -> Result<ExitCode> {
    let fleet = Fleet::read(&Place::fleets(), &options.fleet)?;
    let name = options.name.as_ref().unwrap_or(&options.fleet);
    check_name(name)?;
    if State::all()?.iter().any(|running| running.name == *name) {
        bail!(
            "fleet {name} is up already: `cargo lab down --fleet {name}` first, or start another with --name"
        );
    }
    preconditions::before_machines(place)?;
    let root = debian::root(place)?;
    let slicer = binaries::slicer()?;

    let begin = Instant::now();
    inotify::raise()?;
    let mut state = plan(options, name, &fleet, place)?;
    state.save()?;
    if let Err(error) = make(&mut state, &fleet, options, &root, &slicer) {
        // Leave nothing half made, but say what went wrong first.
        say::line(format_args!("lab: {error:#}"));
        take_down(&state)?;
        bail!("fleet {name} did not come up; nothing of it is left");
    }
    say::line(format_args!(
        "✓ fleet {name} is up: {:.1} s — {}",
        begin.elapsed().as_secs_f64(),
        fleet.description
    ));
    say::line("  next: `cargo lab shell` (the workstation), `cargo lab status`, `cargo lab down`");
    Ok(ExitCode::SUCCESS)
}

fn plan(options: &Up, name: &str, fleet: &Fleet, place: &Place) -> Result<State> {
    let machine = |name: &str, role, address, user: &str| Machine {
        name: name.to_owned(),
        role,
        address,
        user: user.to_owned(),
        supervisor: None,
    };
    let mut machines = vec![machine(
        "workstation",
        Role::Workstation,
        address::WORKSTATION,
        "me",
    )];
    for (index, host) in fleet.hosts.iter().enumerate() {
        let address = address::host(index).context("the LAN has no address left")?;
        machines.push(machine(&host.name, Role::Host, address, &host.user));
    }
    Ok(State {
        name: name.to_owned(),
        fleet: options.fleet.clone(),
        directory: place.fleet(name),
        complete: false,
        machines,
    })
}

fn make(state: &mut State, fleet: &Fleet, options: &Up, root: &Path, slicer: &Path) -> Result<()> {
    let key = key(state)?;
    network::make_lan(&state.name)?;
    let planned = state.clone();
    // Side by side: a machine's start is mostly waiting.
    let started: Vec<Result<u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = planned
            .machines
            .iter()
            .map(|machine| {
                let host = fleet.hosts.iter().find(|host| host.name == machine.name);
                let (planned, key) = (&planned, &key);
                scope.spawn(move || one(planned, machine, host, options, root, slicer, key))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a thread died")))
            })
            .collect()
    });
    for (machine, started) in state.machines.iter_mut().zip(started) {
        machine.supervisor = Some(started?);
    }
    state.complete = true;
    state.save()
}

fn one(
    state: &State,
    machine: &Machine,
    host: Option<&Host>,
    options: &Up,
    root: &Path,
    slicer: &Path,
    key: &Path,
) -> Result<u32> {
    network::make_machine(&state.name, &machine.name, machine.address)?;
    let upper = start::directories(state, machine)?;
    let public = std::fs::read_to_string(key.with_extension("pub"))?;
    let setup = match host {
        Some(host) => {
            furnish::host(
                &upper,
                host,
                machine.address,
                &options.variants,
                Some(slicer),
            )?;
            let password = host.sudo_password.as_deref();
            furnish::setup(&host.user, password, host.slicer, public.trim())
        }
        None => furnish::workstation(&upper, state, machine, key, public.trim())?,
    };
    let supervisor = start::boot(state, machine, root, &setup)?;
    let namespace = crate::machine::namespace(state, machine);
    network::wait_for_ssh(&machine.name, &namespace, PATIENCE).with_context(|| {
        let console = state.machine_directory(&machine.name).join("console.log");
        format!("its console said: {}", tail(&console))
    })?;
    Ok(supervisor)
}

/// The workstation's key, which hosts let in.
fn key(state: &State) -> Result<PathBuf> {
    let path = state.directory.join("id_ed25519");
    let name = path.to_string_lossy();
    output(&mut command(
        "ssh-keygen",
        &[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "me@workstation",
            "-f",
            &name,
        ],
    ))?;
    Ok(path)
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(1000)..])
        .escape_debug()
        .to_string()
}
