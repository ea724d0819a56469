//! `lab up`: builds what is missing, then makes a fleet.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use super::down::take_down;
use crate::cache::parts::{Parts, Programs};
use crate::cache::prune;
use crate::cli::Up;
use crate::exec::{command, output};
use crate::fleet::{Fleet, check_name};
use crate::internet::{self, Extras};
use crate::machine::{furnish, start};
use crate::place::Place;
use crate::state::{Machine, Role, State};
use crate::{address, inotify, network, preconditions, say};

/// All that goes into one fleet.
struct Making<'a> {
    state: &'a State,
    fleet: &'a Fleet,
    options: &'a Up,
    parts: &'a Parts,
    /// The workstation's private key, which hosts let in.
    key: &'a Path,
}

/// Builds, as the caller, what machines are filled with.
pub(crate) fn build(options: &Up, place: &Place) -> Result<Programs> {
    // A typo shall not cost a build.
    Fleet::read(&Place::fleets(), &options.fleet)?;
    preconditions::before_building(place, !options.without_internet)?;
    Programs::build(place, !options.without_internet)
}

/// Makes the fleet.
pub(crate) fn run(options: &Up, programs: Programs, place: &Place) -> Result<ExitCode> {
    let fleet = Fleet::read(&Place::fleets(), &options.fleet)?;
    let name = options.name.as_ref().unwrap_or(&options.fleet);
    check_name(name)?;
    if State::all()?.iter().any(|running| running.name == *name) {
        bail!(
            "fleet {name} is up already: `cargo lab down --fleet {name}` first, or start another with --name"
        );
    }
    preconditions::before_machines(place)?;
    let parts = programs.complete(place)?;
    prune::shelves(place)?;

    let begin = Instant::now();
    let mut state = plan(options, name, &fleet, place)?;
    state.parts = Some(parts.entries());
    // Listed first: a `down` that ends the last other fleet must not lower the limit.
    state.save()?;
    inotify::raise()?;
    if let Err(error) = make(&mut state, &fleet, options, &parts) {
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
    let mut machines = Vec::new();
    if !options.without_internet {
        machines.push(machine(
            "internet",
            Role::Internet,
            address::INTERNET,
            "root",
        ));
    }
    machines.push(machine(
        "workstation",
        Role::Workstation,
        address::WORKSTATION,
        "me",
    ));
    for host in &fleet.hosts {
        let address = fleet
            .address(host)
            .with_context(|| format!("no address is left for {}", host.name))?;
        machines.push(machine(&host.name, Role::Host, address, &host.user));
    }
    Ok(State {
        name: name.to_owned(),
        fleet: options.fleet.clone(),
        directory: place.fleet(name),
        complete: false,
        machines,
        parts: None,
    })
}

fn make(state: &mut State, fleet: &Fleet, options: &Up, parts: &Parts) -> Result<()> {
    let key = make_key(state)?;
    network::make_bridges(&state.name, &fleet.segments())?;
    let planned = state.clone();
    let making = Making {
        state: &planned,
        fleet,
        options,
        parts,
        key: &key,
    };
    // Side by side: a machine's start is mostly waiting.
    let started: Vec<Result<u32>> = std::thread::scope(|scope| {
        let making = &making;
        let threads: Vec<_> = planned
            .machines
            .iter()
            .map(|machine| scope.spawn(move || making.one(machine)))
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

impl Making<'_> {
    /// Makes one machine and waits until it answers; the process that carries it is the answer.
    fn one(&self, machine: &Machine) -> Result<u32> {
        let state = self.state;
        network::make_machine(&state.name, &machine.name, machine.address)?;
        let namespace = crate::machine::namespace(state, machine);
        if machine.role == Role::Internet {
            let extras = Extras {
                images: absolute(self.options.images.as_deref())?,
                charts: absolute(self.options.charts.as_deref())?,
            };
            let mut child = internet::start(state, machine, self.parts, &extras)?;
            let console = internet::directory(state).join("console.log");
            start::wait(&mut child, "the Internet box", &console, || {
                network::answers(&namespace, internet::address())
            })?;
            return Ok(child.id());
        }
        let upper = start::directories(state, machine)?;
        let public = std::fs::read_to_string(self.key.with_extension("pub"))?;
        let host = self
            .fleet
            .hosts
            .iter()
            .find(|host| host.name == machine.name);
        let setup = match host {
            Some(host) => {
                if let Some(inner) = self.fleet.routes(&host.name) {
                    network::make_gateway(&state.name, &host.name, inner.gateway())?;
                }
                let slicer = &self.parts.programs.slicer;
                furnish::host(&upper, self.fleet, host, &self.options.variants, slicer)?;
                furnish::host_setup(host, public.trim())
            }
            None => furnish::workstation(&upper, self.fleet, machine, self.key, public.trim())?,
        };
        let mut child = start::boot(state, machine, self.parts, &setup)?;
        let console = state.machine_directory(&machine.name).join("console.log");
        start::wait(&mut child, &machine.name, &console, || {
            network::greets(&namespace, machine.address)
        })?;
        Ok(child.id())
    }
}

fn make_key(state: &State) -> Result<PathBuf> {
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

fn absolute(directory: Option<&Path>) -> Result<Option<PathBuf>> {
    directory
        .map(|path| {
            path.canonicalize()
                .with_context(|| format!("there is no folder {}", path.display()))
        })
        .transpose()
}
